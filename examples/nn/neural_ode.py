"""A neural ordinary differential equation: learn a vector field from one trajectory.

The state, a row, moves by dx/dt = x^3 A, a spiral.  A network that stands in the place of the right-hand side learns
it from the positions along one path: the loss goes through the integrator, and the gradient of an ordinary loop of
Runge-Kutta steps is the exact gradient of what was computed.  `dif.checkpoint` forgets the inside of each step, so
that the memory is that of the states.  The test starts elsewhere, where nothing was measured.

Reference: R. T. Q. Chen, Y. Rubanova, J. Bettencourt, D. Duvenaud, Neural Ordinary Differential Equations, NeurIPS 31
(2018), figure 8 and its code for the spiral.
"""

import look
import numpy as np

import difftensor as dif
import optim
from difftensor import nn

A = np.array([[-0.1, 2.0], [-2.0, -0.1]])
TEST = np.array([[1.5, 0.5]])


def spiral(x):
    return (x**3) @ A                                    # on the CPU: it stands for the measurements


def integrate(f, x, h, steps):
    """The states at all steps, by the classical Runge-Kutta method."""

    def step(x):
        k1 = f(x)
        k2 = f(x + h / 2 * k1)
        k3 = f(x + h / 2 * k2)
        k4 = f(x + h * k3)
        return x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)

    step, path = dif.checkpoint(step), [x]
    for _ in range(steps):
        path.append(step(path[-1]))
    return np.stack(path)


def field(rng):
    net = nn.models.mlp(2, 50, 2, activation=nn.Tanh, rng=rng)
    return nn.Sequential(lambda x: x**3, *net)  # as in the paper's code: the features are cubes


def train(net, path, h, iterations, window):
    """The path cut into pieces of `window` steps, all at once; the network itself is what L-BFGS minimizes over."""
    pieces = np.stack([path[s : s + window + 1] for s in range(0, len(path) - window, window // 2)], axis=1)
    losses = []

    def loss(net):
        return np.mean((integrate(net, pieces[0], h, window) - pieces) ** 2)

    def note(intermediate_result):
        losses.append(float(intermediate_result.fun))

    result = optim.minimize(loss, dif.tree.map(lambda p: p.detach(), net), method="L-BFGS", tol=1e-12,
                            options={"maxiter": iterations}, callback=note)  # fmt: skip
    return result.x, losses


def picture(true, learnt, unseen, unseen_learnt, losses):
    axes = look.figure(11, 4.5).subplots(1, 2)
    for a, b, color, name in [(true, learnt, look.BLUE, "trained on"),
                              (unseen, unseen_learnt, look.ORANGE, "unseen")]:
        axes[0].plot(*a.T, color=color, lw=3, alpha=0.35, label=f"{name}: truth")
        axes[0].plot(*b.T, color=color, lw=1, label=f"{name}: network")
    axes[0].set(xlabel="$x_1$", ylabel="$x_2$", aspect="equal", title="trajectories")
    axes[0].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    axes[1].semilogy(losses, color=look.BLUE, lw=0.7)
    axes[1].set(xlabel="iteration", ylabel="mean squared distance", title="loss")
    look.save(axes[0].figure, "nn_neural_ode")


def main(small=False, device="cpu"):
    rng, h = np.random.default_rng(0), 0.025
    steps = 400 if small else 1000
    start = np.array([[2.0, 0.0]])
    true = integrate(spiral, start, h, steps)[:, 0]
    net = field(rng).to(device)
    net, losses = train(net, look.sent(device, true), h, 60 if small else 600, 20)
    run = lambda x: look.fetched(integrate(net, look.sent(device, x), h, steps))[:, 0]
    learnt, unseen_learnt = run(start), run(TEST)
    unseen = integrate(spiral, TEST, h, steps)[:, 0]
    distance = lambda a, b: float(np.sqrt(((a - b) ** 2).sum(1)).mean())
    result = {"trained": distance(true, learnt), "unseen": distance(unseen, unseen_learnt),
              "size": float(np.abs(true).max()), "losses": (losses[0], losses[-1])}  # fmt: skip
    look.table("mean distance from the truth",
               [("along the path trained on", result["trained"]), ("from an unseen start", result["unseen"])],
               ("", "distance"))  # fmt: skip
    picture(true, learnt, unseen, unseen_learnt, losses)
    return result


if __name__ == "__main__":
    main(device=look.device())
