"""Makes resnet.json: what torchvision's ResNets, run by PyTorch, make of a drawn picture.

    python resnet.py > resnet.json        # needs torch and torchvision

Weights and picture follow from formulas that the Rust test repeats, so that no weights need to be kept.
"""

import json

import numpy
import torch
import torchvision

SIDE = 96


def uniform(name, count):
    """Numbers from 0 to 1 that follow from a name (FNV-1a, then splitmix64)."""
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = (seed ^ byte) * 0x100000001B3 % 2**64
    with numpy.errstate(over="ignore"):
        z = numpy.arange(1, count + 1, dtype=numpy.uint64) * numpy.uint64(0x9E3779B97F4A7C15)
        z += numpy.uint64(seed)
        z = (z ^ (z >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
        z ^= z >> numpy.uint64(31)
    return (z >> numpy.uint64(40)).astype(numpy.float32) / numpy.float32(2**24)


def weights(name, shape):
    u = uniform(name, int(numpy.prod(shape)))
    if len(shape) == 4:
        values = (u - numpy.float32(0.5)) * numpy.float32((24 / numpy.prod(shape[1:])) ** 0.5)
    elif name.endswith(("running_var", "weight")):
        values = u * numpy.float32(0.5) + numpy.float32(0.25)
    else:
        values = (u - numpy.float32(0.5)) * numpy.float32(0.2)
    return torch.from_numpy(values.reshape(shape))


def features(depth):
    network = getattr(torchvision.models, f"resnet{depth}")(weights=None)
    state = network.state_dict()
    for name, value in state.items():
        if value.dim() > 0 and not name.startswith("fc."):
            value.copy_(weights(name, tuple(value.shape)))
    network.fc = torch.nn.Identity()
    network.eval()
    y, x, channel = numpy.meshgrid(range(SIDE), range(SIDE), range(3), indexing="ij")
    picture = (3 * x + 5 * y + 70 * channel + x * y // 16) % 256
    picture = torch.from_numpy(picture.astype(numpy.float32)).permute(2, 0, 1)[None] / 255
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    deviation = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    with torch.no_grad():
        values = network((picture - mean) / deviation)[0].tolist()
    return [float(f"{value:.7g}") for value in values]


print(json.dumps({str(depth): features(depth) for depth in (18, 50)}))
