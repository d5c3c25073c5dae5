"""`small_inception` and `cifar_resnet18` in PyTorch, evaluated and trained from weights of ours.

Modules and attributes have the names that our checkpoints' keys are made of.
"""

import sys
from collections.abc import Mapping, Sequence

import numpy as np

# Its compiler, which nothing here uses, cannot be loaded beside TensorFlow: LLVM would be there
# twice, and ends the process.
sys.modules["triton"] = None  # type: ignore[assignment]

import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

Weights = Mapping[str, np.ndarray]

_NAMES = {
  "w": "weight",
  "b": "bias",
  "scale": "weight",
  "offset": "bias",
  "moving_mean/average": "running_mean",
  "moving_variance/average": "running_var",
}


class TorchWay:
  """Evaluates and trains as PyTorch's guides do: channels last, and autocast for bfloat16.

  Args:
    network: its name.
    bfloat16: whether in autocast.
    images: uint8 [n, height, width, channels].
    labels: int64 [n].
    weights: what to evaluate, by our checkpoints' keys.
    initial: what to train from.
    batches: the examples of each step.
    learning_rate: of momentum SGD, momentum 0.9.
    evaluated_at_a_time: images.
  """

  def __init__(
    self,
    network: str,
    bfloat16: bool,
    images: np.ndarray,
    labels: np.ndarray,
    weights: Weights,
    initial: Weights,
    batches: Sequence[np.ndarray],
    learning_rate: float,
    evaluated_at_a_time: int,
  ):
    self._bfloat16 = bfloat16
    # Where a stride of 2 needs one pixel of padding, TensorFlow puts it below and right, PyTorch
    # above and left. Upside down and mirrored, kernels likewise, images meet the same sums.
    self._flips = network == "small_inception"
    seen = images[:, ::-1, ::-1] if self._flips else images
    self._images = torch.tensor(seen.transpose(0, 3, 1, 2).copy())
    self._labels = torch.tensor(labels)
    self._batches = [torch.tensor(batch) for batch in batches]
    self._learning_rate = learning_rate
    self._at_a_time = evaluated_at_a_time
    self._network = _NETWORKS[network](images.shape[-1], 10).to(memory_format=torch.channels_last)
    self._weights, self._initial = self._state(weights), self._state(initial)

  def evaluate(self) -> tuple[np.ndarray, np.ndarray]:
    """Returns whether the largest logit is at the label, bool [n], and margins, float32 [n]."""
    self._network.load_state_dict(self._weights)
    self._network.eval()
    with torch.inference_mode(), self._autocast():
      logits = [self._network(_floats(part)) for part in self._images.split(self._at_a_time)]
    together = torch.cat(logits).float()
    of_label = functional.one_hot(self._labels, together.shape[1]).bool()
    others = together.masked_fill(of_label, -torch.inf)
    margins = together[of_label] - torch.logsumexp(others, dim=1)
    return (together.argmax(dim=1) == self._labels).numpy(), margins.numpy()

  def train(self) -> float:
    """Trains for an epoch; returns the mean loss."""
    self._network.load_state_dict(self._initial)
    self._network.train()
    optimizer = torch.optim.SGD(self._network.parameters(), lr=self._learning_rate, momentum=0.9)
    losses = 0.0
    for batch in self._batches:
      with self._autocast():
        logits = self._network(_floats(self._images[batch]))
        loss = functional.cross_entropy(logits, self._labels[batch])
      optimizer.zero_grad()
      loss.backward()
      optimizer.step()
      losses += float(loss.detach()) * len(batch)
    return losses / len(self._images)

  def _autocast(self) -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=self._bfloat16)

  def _state(self, weights: Weights) -> dict[str, torch.Tensor]:
    state = {key: value.clone() for key, value in self._network.state_dict().items()}
    for key, value in weights.items():
      path = key.removeprefix("model/")
      # Counters, and sums behind the moving averages, have no counterpart.
      for ours, theirs in _NAMES.items():
        if path.endswith(f"/{ours}"):
          name = path.removesuffix(ours).replace("/", ".") + theirs
          tensor = torch.tensor(self._transposed(value))
          state[name] = tensor.reshape(state[name].shape)
    return state

  def _transposed(self, value: np.ndarray) -> np.ndarray:
    if value.ndim == 2:
      return value.T.copy()
    if value.ndim < 4 or value.shape[:3] == (1, 1, 1):  # no kernel
      return value
    return (value[::-1, ::-1] if self._flips else value).transpose(3, 2, 0, 1).copy()


def _floats(images: torch.Tensor) -> torch.Tensor:
  return images.to(torch.float32, memory_format=torch.channels_last) / 255


class SmallInception(nn.Module):
  """As `models.small_inception`."""

  def __init__(self, channels: int, num_classes: int):
    super().__init__()
    self.conv1 = ConvBNReLU(channels, 96, 3)
    self.stage1 = Stage(96, [(32, 32), (32, 48)], 160)
    self.stage2 = Stage(160, [(112, 48), (96, 64), (80, 80), (48, 96)], 240)
    self.stage3 = Stage(240, [(176, 160), (176, 160)], None)
    self._pred = nn.Linear(336, num_classes)

  def forward(self, images: torch.Tensor) -> torch.Tensor:
    net = self.stage3(self.stage2(self.stage1(self.conv1(images))))
    return self._pred(net.amax(dim=(2, 3)))


class Stage(nn.Module):
  """Inception blocks, and a convolution that halves each side if `downsample` is given."""

  def __init__(self, inputs: int, widths: list[tuple[int, int]], downsample: int | None):
    super().__init__()
    self._body = nn.ModuleList()
    for branches in widths:
      self._body.append(InceptionBlock(inputs, *branches))
      inputs = sum(branches)
    self._downsample = ConvBNReLU(inputs, downsample, 3, stride=2) if downsample else None

  def forward(self, net: torch.Tensor) -> torch.Tensor:
    for block in self._body:
      net = block(net)
    return self._downsample(net) if self._downsample else net


class InceptionBlock(nn.Module):
  """A 1×1 and a 3×3 convolution side by side."""

  def __init__(self, inputs: int, channels_1x1: int, channels_3x3: int):
    super().__init__()
    self.conv1x1 = ConvBNReLU(inputs, channels_1x1, 1)
    self.conv3x3 = ConvBNReLU(inputs, channels_3x3, 3)

  def forward(self, net: torch.Tensor) -> torch.Tensor:
    return torch.cat([self.conv1x1(net), self.conv3x3(net)], dim=1)


class ConvBNReLU(nn.Module):
  """Convolution, batch normalisation, ReLU."""

  def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1):
    super().__init__()
    self.conv = _conv(inputs, outputs, kernel, stride)
    self.bn = nn.BatchNorm2d(outputs)

  def forward(self, net: torch.Tensor) -> torch.Tensor:
    return functional.relu(self.bn(self.conv(net)), inplace=True)


class CifarResNet18(nn.Module):
  """As `models.cifar_resnet`, of 18 layers."""

  def __init__(self, channels: int, num_classes: int):
    super().__init__()
    self._initial_conv = _conv(channels, 64, 3)
    self._block_groups = nn.ModuleList()
    for inputs, outputs, stride in ((64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)):
      self._block_groups.append(BlockGroup(inputs, outputs, stride))
    self._final_batchnorm = nn.BatchNorm2d(512)
    self._logits = nn.Linear(512, num_classes)

  def forward(self, images: torch.Tensor) -> torch.Tensor:
    net = self._initial_conv(images)
    for group in self._block_groups:
      net = group(net)
    net = functional.relu(self._final_batchnorm(net), inplace=True)
    return self._logits(net.mean(dim=(2, 3)))


class BlockGroup(nn.Module):
  """Two blocks of one width."""

  def __init__(self, inputs: int, outputs: int, stride: int):
    super().__init__()
    self._blocks = nn.ModuleList(
      [PreActivationBlock(inputs, outputs, stride, True), PreActivationBlock(outputs, outputs)]
    )

  def forward(self, net: torch.Tensor) -> torch.Tensor:
    for block in self._blocks:
      net = block(net)
    return net


class PreActivationBlock(nn.Module):
  """Batch normalisation, ReLU, convolution, twice, plus a shortcut."""

  def __init__(self, inputs: int, outputs: int, stride: int = 1, projects: bool = False):
    super().__init__()
    self._proj_conv = _conv(inputs, outputs, 1, stride) if projects else None
    self._bn_0, self._conv_0 = nn.BatchNorm2d(inputs), _conv(inputs, outputs, 1)
    self._bn_1, self._conv_1 = nn.BatchNorm2d(outputs), _conv(outputs, outputs, 3, stride)

  def forward(self, net: torch.Tensor) -> torch.Tensor:
    shortcut = net
    net = functional.relu(self._bn_0(net), inplace=True)
    if self._proj_conv:
      shortcut = self._proj_conv(net)
    net = functional.relu(self._bn_1(self._conv_0(net)), inplace=True)
    return self._conv_1(net) + shortcut


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
  return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)


_NETWORKS = {"small_inception": SmallInception, "cifar_resnet18": CifarResNet18}
