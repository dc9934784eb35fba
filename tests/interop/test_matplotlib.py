"""matplotlib: constants are drawn as their values; a tracked Tensor asks for detach()."""

import numpy as np
import pytest

import difftensor as dif
from difftensor.errors import TrackedValueError

pytestmark = pytest.mark.interop("matplotlib")
X = np.array([0.3, 0.7, 1.1])

DRAW = {
    "plot": lambda ax, x: ax.plot(x, x**2, "o-"),
    "plot y": lambda ax, x: ax.plot(x),
    "step": lambda ax, x: ax.step(x, x),
    "scatter": lambda ax, x: ax.scatter(x, x, c=x, s=30 * x),
    "bar": lambda ax, x: ax.bar(x, x**2, width=0.1),
    "barh": lambda ax, x: ax.barh(x, x),
    "hist": lambda ax, x: ax.hist(x, bins=4),
    "errorbar": lambda ax, x: ax.errorbar(x, x, yerr=0.1 * x),
    "fill_between": lambda ax, x: ax.fill_between(x, x, 2 * x),
    "imshow": lambda ax, x: ax.imshow(x[:, None] * x),
    "contour": lambda ax, x: ax.contour(x, x, x[:, None] * x),
    "contourf": lambda ax, x: ax.contourf(x[:, None] * x),
    "pcolormesh": lambda ax, x: ax.pcolormesh(x, x, x[:, None] * x),
    "quiver": lambda ax, x: ax.quiver(x, x, x, -x),
    "streamplot": lambda ax, x: ax.streamplot(np.arange(3), np.arange(3), x[:, None] * x, x[:, None] + x),
    "boxplot": lambda ax, x: ax.boxplot(x),
    "semilogy": lambda ax, x: ax.semilogy(x, x),
    "stem": lambda ax, x: ax.stem(x, x),
    "vlines": lambda ax, x: ax.vlines(x, 0, x),
    "axhline": lambda ax, x: ax.axhline(x[0]),
    "set_xlim": lambda ax, x: ax.set_xlim(x[0], x[2]),
    "set_xticks": lambda ax, x: ax.set_xticks(x),
    "text": lambda ax, x: ax.text(x[0], x[1], "here"),
}


@pytest.fixture
def axes():
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)


def pixels(ax):
    ax.figure.canvas.draw()
    return np.asarray(ax.figure.canvas.buffer_rgba()).copy()


@pytest.mark.parametrize("name", DRAW)
def test_constants_are_drawn_as_their_values(name, axes):
    DRAW[name](axes, X)
    expected = pixels(axes)
    axes.clear()
    DRAW[name](axes, dif.tensor(X))
    np.testing.assert_array_equal(pixels(axes), expected)


@pytest.mark.parametrize("name", sorted(set(DRAW) - {"text"}))  # text is drawn where it belongs
def test_tracked_tensors_say_what_to_call(name, axes):
    with pytest.raises(TrackedValueError, match=r"detach\(\)"):
        DRAW[name](axes, dif.tensor(X, requires_grad=True))
        axes.figure.canvas.draw()
