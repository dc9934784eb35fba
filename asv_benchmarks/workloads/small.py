"""Operations on few elements, where the bookkeeping is everything; and elementwise work on many."""
import numpy as np

from .case import Case, workload

# The map y -> sin(y) x + 0.5 has slopes of -0.94 to -0.98 at its fixed points here: nothing dies or explodes.
FACTORS = np.array([1.86, 1.87, 1.89])


@workload(500, 10_000, tiny=5)
def chain(steps):
    """y <- sin(y) x + 0.5 from y = x, derived by x."""
    def program(xp):
        sin = xp.sin

        def f(x):
            y = x
            for _ in range(steps):
                y = sin(y) * x + 0.5
            return y.sum()

        return f

    def scanned(xp):
        sin = xp.sin

        def step(y, _, x):
            return sin(y) * x + 0.5, None

        return lambda x: xp.scan(step, x, steps, x)[0].sum()

    def hand(x):
        y, ys = x, []
        for _ in range(steps):
            ys.append(y)
            y = np.sin(y) * x + 0.5
        value, g, gx = y.sum(), np.ones(3), np.zeros(3)
        for y in reversed(ys):
            gx += g * np.sin(y)
            g = g * x * np.cos(y)
        return value, [gx + g]

    return Case((FACTORS,), program, hand, scanned=scanned)


@workload(500, tiny=5, loop=True)
def chain_constant(steps):
    """The same chain derived by its start, with x an array of the user's: a raw constant on the tape."""
    def program(xp):
        x, sin = xp.constant(FACTORS), xp.sin

        def f(y):
            for _ in range(steps):
                y = sin(y) * x + 0.5
            return y.sum()

        return f

    def hand(y):
        ys = []
        for _ in range(steps):
            ys.append(y)
            y = np.sin(y) * FACTORS + 0.5
        value, g = y.sum(), np.ones(3)
        for y in reversed(ys):
            g = g * FACTORS * np.cos(y)
        return value, [g]

    return Case((FACTORS,), program, hand)


@workload(500, tiny=5, loop=True)
def matmul_chain(steps):
    """A <- M A with a rotation M of space, derived by M."""
    a, b = np.cos(0.1), np.sin(0.1)
    rotation = np.array([[a, -b, 0.0], [b, a, 0.0], [0.0, 0.0, 1.0]])

    def program(xp):
        def f(M):
            A = M
            for _ in range(steps):
                A = M @ A
            return A.sum()

        return f

    def hand(M):
        A, As = M, []
        for _ in range(steps):
            As.append(A)
            A = M.dot(A)
        value, g, gM = A.sum(), np.ones((3, 3)), np.zeros((3, 3))
        for A in reversed(As):
            gM += g.dot(A.T)
            g = M.T.dot(g)
        return value, [gM + g]

    return Case((rotation,), program, hand)


@workload(500, tiny=5, loop=True)
def indexing(n):
    """sum x[i] x[i+1], element by element."""
    x = np.random.default_rng(1).standard_normal(n)

    def program(xp):
        def f(x):
            s = 0.0
            for i in range(n - 1):
                s = s + x[i] * x[i + 1]
            return s

        return f

    def hand(x):
        g, s = np.zeros(n), 0.0
        for i in range(n - 1):
            s = s + x[i] * x[i + 1]
        for i in range(n - 1):
            g[i] += x[i + 1]
            g[i + 1] += x[i]
        return s, [g]

    return Case((x,), program, hand)


@workload(10_000, 1_000_000, 4_000_000, tiny=50)
def elementwise(n):
    """sum of sin(x) exp(-x^2)."""
    x = np.random.default_rng(2).standard_normal(n)

    def program(xp):
        return lambda x: (xp.sin(x) * xp.exp(-(x * x))).sum()

    def hand(x):
        s, e = np.sin(x), np.exp(-(x * x))
        g = np.cos(x)
        g -= 2.0 * x * s
        g *= e
        return np.dot(s, e), [g]

    return Case((x,), program, hand)
