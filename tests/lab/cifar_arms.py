"""Recipes on CIFAR-10, and how many groups of arms each has."""

ON_CIFAR10 = {
    "laperm-resnet20-cifar10": 2,
    "laperm-vgg7-cifar10": 3,
    "laperm-period-cifar10": 11,
    "laperm-conv-cifar10": 9,
    "laperm-sparse-conv4": 11,
    "laperm-sparse-resnet50": 16,
    "laperm-sparsity-all": 95,
    "index-layer-cifar10": 9,
    "index-neuron-cifar10": 9,
    "index-kernel-cifar10": 9,
}
