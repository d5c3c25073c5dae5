"""Outcomes in other tools' layouts: plain arrays, LiRA, datamodels, dattri and TRAK."""
