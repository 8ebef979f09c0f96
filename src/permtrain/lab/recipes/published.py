"""What the papers say of each experiment, where numbers of arms do not say it all.

P2T is Permute to Train (2022), TBR is Train by Reconnect (2020), IDX the index optimizer thesis
(2021), CCQ is Cai, Chen, Qiao (2025). Numbers of arms stand in the recipes (`Arm.published`).
"""

CLAIMS: dict[str, str] = {
    "sgperm-logistic-mnist": (
        "fast for 25 updates, a plateau near 87; in the first 50 updates about 4 times sparser and "
        "80 times stronger updates than Adam's (P2T 5.1.1)"
    ),
    "sgperm-fc-mnist": "slightly ahead of Adam over the 800 updates (P2T 5.1.2)",
    "sgperm-fc-fashion": "slightly ahead of Adam over the 800 updates (P2T 5.1.2)",
    "laperm-resnet20-cifar10": "87.41, Adam 91.74 (P2T 5.2.1)",
    "laperm-vgg7-cifar10": "90.03, above Adam (P2T 5.2.2)",
    "laperm-rewire-mnist": (
        "rewired for 1,500 batches and then trained ends above trained alone, crossing after epoch "
        "25; the LaPerm phase has its plateau near 60 (P2T 5.2.3)"
    ),
    "laperm-init-mnist": (
        "about 99.76 with He, Glorot about .1 lower; shuffled weights stop improving at epoch 25 "
        "(TBR 5.1)"
    ),
    "laperm-period-cifar10": (
        "final accuracy grows with k, before epoch 60 the order is reversed, k = 1 is clearly "
        "worse (TBR 5.2)"
    ),
    "laperm-conv-cifar10": "conv2, conv4, conv13: 78.21, 89.17, 92.21 (TBR 5.2)",
    "laperm-sparse-conv4": (
        "with 50% zeros no loss against dense, k = 1000 better than dense; from k = 200 on ahead "
        "of Adam with the zeros held (TBR 5.4)"
    ),
    "laperm-sparse-resnet50": "0, 30, 50, 70% zeros: 92.53, 92.32, 92.02, 90.97 (TBR 5.4)",
    "laperm-sparsity-all": "flat down to 30% of the weights, a sharp fall at 10% (TBR 5.4)",
    "laperm-agnostic-mnist": (
        "f1 85.46; f2 53 with 10% remaining everywhere, 78.14 with 1/15, 1/7 and 1/3 (TBR 5.5, "
        "A.5.0)"
    ),
    "index-layer": "whole layers, lenet5 on MNIST (IDX table 5.1)",
    "index-layer-cifar10": "whole layers, vgg16 on CIFAR-10 (IDX table 5.1)",
    "index-neuron": "output channels, lenet5 on MNIST (IDX table 5.2)",
    "index-neuron-cifar10": "output channels, vgg16 on CIFAR-10 (IDX table 5.2)",
    "index-kernel": "kernels, lenet5 on MNIST (IDX table 5.3)",
    "index-kernel-cifar10": "kernels, vgg16 on CIFAR-10 (IDX table 5.3)",
    "index-imagenet": "whole layers, resnet34 on ImageNet: 70.93 (IDX table 5.1)",
    "sortgan-mnist": (
        "recovers the digit's own shape from shuffled pixels and its label; pictures only (IDX 5.2)"
    ),
    "sortgan-fashion": "detail on clothes is lost, some stray pixels; pictures only (IDX 5.2)",
    "unshuffle-mnist": "poor; ten pictures are shown (IDX appendix B)",
    "ranking-distance": (
        "mean and standard deviation of the ranking distance by step, for SGD, Adam, dropout and "
        "L2; curves only (TBR 3)"
    ),
    "regression-1d": (
        "from equidistant, pairwise and uniform values the error falls with the width at a slope "
        "of about -1/2; He's and Glorot's fail (CCQ)"
    ),
    "regression-2d": "the slope is less steep than with one variable (CCQ)",
    "regression-3d": "the slope is less steep still, about -1/6 (CCQ, second-hand)",
}
"""By the recipe's id, in the order of the pages."""

PICTURES: dict[str, str] = {
    "profiles": "weight profiles of trained networks: `permtrain plot profiles FILE`",
    "cycles": "the cycles between two synchronisations: `permtrain plot cycles RUN`",
}
"""Published experiments that are pictures of the user's own files, and what draws them."""
