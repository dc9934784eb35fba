"""Trajectories and forces: what a physicist's loop looks like."""
import numpy as np

from .case import Case, workload


@workload(100, 1000, tiny=3, tolerance=1e-8)
def lorenz_rk4(steps):
    """Lorenz' equations by classical Runge-Kutta, derived by parameters and start (chaotic)."""
    h = 0.005

    def program(xp):
        def rhs(parameters, state):
            sigma, rho, beta = parameters
            x, y, z = state
            return xp.array([sigma * (y - x), x * (rho - z) - y, x * y - beta * z])

        def step(u, _, p):
            k1 = rhs(p, u)
            k2 = rhs(p, u + 0.5 * h * k1)
            k3 = rhs(p, u + 0.5 * h * k2)
            k4 = rhs(p, u + h * k3)
            return u + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4), None

        def f(parameters, state):
            u, _ = xp.scan(step, state, steps, [parameters[0], parameters[1], parameters[2]])
            return (u * u).sum()

        return f

    def hand(parameters, state):
        p, u = parameters.tolist(), state.tolist()  # plain floats: faster than three-vectors
        path = []
        for _ in range(steps):
            path.append(u)
            u = lorenz_step(p, u, h)[0]
        value = sum(x * x for x in u)
        g, gp = [2.0 * x for x in u], [0.0, 0.0, 0.0]
        for u in reversed(path):
            g = lorenz_step_pull(p, lorenz_step(p, u, h)[1], g, h, gp)
        return value, [np.array(gp), np.array(g)]

    return Case((np.array([10.0, 28.0, 8.0 / 3.0]), np.array([1.0, 2.0, 20.0])), program, hand, scanned=program)


def lorenz(p, u):
    (s, r, b), (x, y, z) = p, u
    return [s * (y - x), x * (r - z) - y, x * y - b * z]


def shifted(u, a, k):
    return [u[0] + a * k[0], u[1] + a * k[1], u[2] + a * k[2]]


def lorenz_step(p, u, h):
    """The next state and the four points where the right-hand side was taken."""
    k1 = lorenz(p, u)
    k2 = lorenz(p, u2 := shifted(u, 0.5 * h, k1))
    k3 = lorenz(p, u3 := shifted(u, 0.5 * h, k2))
    k4 = lorenz(p, u4 := shifted(u, h, k3))
    mean = [k1[i] + 2.0 * k2[i] + 2.0 * k3[i] + k4[i] for i in range(3)]
    return shifted(u, h / 6.0, mean), (u, u2, u3, u4)


def lorenz_pull(p, u, g, gp):
    """J^T g by the state; adds the parameters' part to gp."""
    (s, r, b), (x, y, z), (ga, gb, gc) = p, u, g
    gp[0] += ga * (y - x)
    gp[1] += gb * x
    gp[2] -= gc * z
    return [-s * ga + (r - z) * gb + y * gc, s * ga - gb + x * gc, -x * gb - b * gc]


def lorenz_step_pull(p, points, g, h, gp):
    """The transposed step: stages in the opposite order."""
    zero = [0.0, 0.0, 0.0]
    total, pulled = g, zero
    weights, reaches = (h / 6, h / 3, h / 3, h / 6), (0.0, h, 0.5 * h, 0.5 * h)
    for point, weight, reach in zip(reversed(points), weights, reaches):
        pulled = lorenz_pull(p, point, shifted([weight * x for x in g], reach, pulled), gp)
        total = shifted(total, 1.0, pulled)
    return total


@workload(200, 1000, tiny=4)
def nbody(n):
    """The energy of n gravitating bodies (softened): the forces are its gradient."""
    rng = np.random.default_rng(3)
    x, mass = rng.standard_normal((n, 3)), rng.uniform(0.5, 1.5, n)

    def program(xp):
        pairs = xp.constant(0.5 * mass[:, None] * mass)

        def f(x):
            d = x[:, None, :] - x[None, :, :]
            return -(pairs / xp.sqrt((d * d).sum(-1) + 0.01)).sum()

        return f

    def hand(x):
        # |x_i - x_j|^2 from the products x_i . x_j; the gradient is two products with a matrix again.
        square = np.einsum("ij,ij->i", x, x)
        r2 = square[:, None] + square - 2.0 * (x @ x.T) + 0.01
        w = mass[:, None] * mass
        w /= np.sqrt(r2)
        value = -0.5 * w.sum()
        w /= r2
        return value, [w.sum(1)[:, None] * x - w @ x]

    return Case((x,), program, hand)
