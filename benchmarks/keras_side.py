"""The other side of keras_comparison.py: LaPerm in TensorFlow, in a process of its own.

Reads commands from standard input, one JSON object a line, and answers each with a line. Written
from the papers and what is known of their authors' set-up (Keras, its ImageDataGenerator, ranks
by argsort of argsort in NumPy, in a callback); it shares no code with permtrain.

    {"do": "build", "net": ..., "threads": ...}      -> {"parameters": ...}
    {"do": "logits", "weights": FILE.npz, "images": FILE.npy, "to": FILE.npy} -> {}
    {"do": "steps", "way": "fit" or "loop", "steps": ...}    -> {"seconds": ...}
"""

import json
import os
import sys
import time
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import tensorflow as tf
from keras import layers

BATCH = 50
SHAPES = {"conv7": (28, 28, 1), "conv4": (32, 32, 3)}
SYNC_PERIODS = {"conv7": 20, "conv4": 1000}
ROTATION = {"conv7": 10, "conv4": 15}
ZOOM = {"conv7": 0.1, "conv4": 0.0}
FLIP = {"conv7": False, "conv4": True}
HE = "he_uniform"


def conv7() -> Any:
    def conv(filters: int, size: int, stride: int = 1) -> Any:
        return layers.Conv2D(
            filters,
            size,
            stride,
            padding="same" if stride > 1 else "valid",
            activation="relu",
            kernel_initializer=HE,
        )

    return keras.Sequential(
        [
            keras.Input(SHAPES["conv7"]),
            conv(32, 3),
            conv(32, 3),
            conv(32, 5, 2),
            layers.Dropout(0.4),
            conv(64, 3),
            conv(64, 3),
            conv(64, 5, 2),
            layers.Dropout(0.4),
            conv(128, 4),
            layers.Flatten(),
            layers.Dropout(0.4),
            layers.Dense(10, kernel_initializer=HE),
        ]
    )


def conv4() -> Any:
    l2 = keras.regularizers.L2(1e-4)
    options = {"activation": "relu", "kernel_initializer": HE, "kernel_regularizer": l2}
    body: list[Any] = [keras.Input(SHAPES["conv4"])]
    for filters, dropout in ((64, 0.3), (128, 0.4)):
        body += [
            layers.Conv2D(filters, 3, padding="same", **options),
            layers.BatchNormalization(),
            layers.Dropout(dropout),
            layers.Conv2D(filters, 3, padding="same", **options),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
        ]
    return keras.Sequential(
        [
            *body,
            layers.Flatten(),
            layers.Dense(256, **options),
            layers.Dropout(0.5),
            layers.BatchNormalization(),
            layers.Dense(256, **options),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            layers.Dense(10, kernel_initializer=HE),
        ]
    )


def permuted(net: str, model: Any) -> list[Any]:
    """Kernels; for conv7 biases too."""
    return [
        variable
        for variable in model.trainable_variables
        if len(variable.shape) >= 2 or (net == "conv7" and "bias" in variable.path)
    ]


class Synchronize(keras.callbacks.Callback):
    """Every k steps: ranks by argsort of argsort along a neuron's weights, in NumPy."""

    def __init__(self, net: str, variables: list[Any]) -> None:
        super().__init__()
        self.period = SYNC_PERIODS[net]
        self.variables = variables
        self.sorted = [np.sort(rows(v.numpy()), axis=0) for v in variables]
        self.step = 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.step += 1
        if self.step % self.period == 0:
            for variable, values in zip(self.variables, self.sorted, strict=True):
                ranks = np.argsort(np.argsort(rows(variable.numpy()), axis=0), axis=0)
                arranged = np.take_along_axis(values, ranks, axis=0)
                variable.assign(arranged.reshape(variable.shape))


def rows(values: Any) -> Any:
    """(weights of a neuron, neurons); a bias is one vector."""
    return values.reshape(-1, values.shape[-1]) if values.ndim > 1 else values[:, None]


class Side:
    """A model with both ways to train it."""

    def __init__(self, net: str, threads: int) -> None:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
        keras.utils.set_random_seed(0)
        self.net = net
        self.model = {"conv7": conv7, "conv4": conv4}[net]()
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.model.compile(keras.optimizers.Adam(1e-3), loss)
        generator = np.random.default_rng(0)
        self.images = generator.integers(0, 256, (BATCH * 64, *SHAPES[net])).astype("float32")
        self.images = (self.images - self.images.mean()) / self.images.std()
        self.labels = generator.integers(0, 10, BATCH * 64)
        self.flow = keras.src.legacy.preprocessing.image.ImageDataGenerator(
            rotation_range=ROTATION[net],
            width_shift_range=0.1,
            height_shift_range=0.1,
            zoom_range=ZOOM[net],
            horizontal_flip=FLIP[net],
        ).flow(self.images, self.labels, batch_size=BATCH, seed=0)
        self.callback = Synchronize(net, permuted(net, self.model))
        self.optimizer = keras.optimizers.Adam(1e-3)
        self.optimizer.build(self.model.trainable_variables)
        self.loss = loss
        self.sorted = [tf.sort(self.as_vectors(v), axis=1) for v in permuted(net, self.model)]
        self.moves = keras.Sequential(
            [
                layers.RandomRotation(ROTATION[net] / 360, fill_mode="nearest"),
                layers.RandomTranslation(0.1, 0.1, fill_mode="nearest"),
                *([layers.RandomZoom(ZOOM[net], fill_mode="nearest")] if ZOOM[net] else []),
                *([layers.RandomFlip("horizontal")] if FLIP[net] else []),
            ]
        )
        self.count = 0

    @staticmethod
    def as_vectors(variable: Any) -> Any:
        """(neurons, weights of a neuron); a bias is one vector."""
        value = tf.convert_to_tensor(variable)
        if len(value.shape) == 1:
            return value[None]
        return tf.transpose(tf.reshape(value, (-1, value.shape[-1])))

    @tf.function
    def step(self, images: Any, labels: Any) -> None:
        images = self.moves(images, training=True)
        with tf.GradientTape() as tape:
            loss = self.loss(labels, self.model(images, training=True))
            loss += tf.add_n(self.model.losses) if self.model.losses else 0.0
        variables = self.model.trainable_variables
        self.optimizer.apply(tape.gradient(loss, variables), variables)

    @tf.function
    def synchronize(self) -> None:
        for variable, values in zip(permuted(self.net, self.model), self.sorted, strict=True):
            ranks = tf.argsort(tf.argsort(self.as_vectors(variable), axis=1), axis=1)
            arranged = tf.transpose(tf.gather(values, ranks, batch_dims=1))
            variable.assign(tf.reshape(arranged, variable.shape))

    def fit(self, steps: int) -> None:
        self.model.fit(self.flow, steps_per_epoch=steps, verbose=0, callbacks=[self.callback])

    def loop(self, steps: int) -> None:
        for number in range(steps):
            first = number * BATCH % len(self.images)
            batch = slice(first, first + BATCH)
            self.step(tf.constant(self.images[batch]), tf.constant(self.labels[batch]))
            self.count += 1
            if self.count % SYNC_PERIODS[self.net] == 0:
                self.synchronize()

    def logits(self, weights: str, images: str, to: str) -> None:
        saved = np.load(weights)
        self.model.set_weights([saved[str(number)] for number in range(len(saved.files))])
        np.save(to, self.model(np.load(images), training=False).numpy())


def main() -> None:
    side: Any = None
    for line in sys.stdin:
        command = json.loads(line)
        answer: dict[str, Any] = {}
        if command["do"] == "build":
            side = Side(command["net"], command["threads"])
            answer = {"parameters": side.model.count_params(), "tensorflow": tf.__version__}
        elif command["do"] == "logits":
            side.logits(command["weights"], command["images"], command["to"])
        else:
            run = {"fit": side.fit, "loop": side.loop}[command["way"]]
            begun = time.perf_counter()
            run(command["steps"])
            answer = {"seconds": time.perf_counter() - begun}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
