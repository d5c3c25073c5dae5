"""What the commands share: flags, jobs, progress, where outcomes come from and tables go."""
