"""Three objectives of the ADBench paper, from its formulas: Gaussian mixture, bundle adjustment, LSTM.

Srajer, Kukelova, Fitzgibbon, "A benchmark of selected algorithmic differentiation tools on some problems in
computer vision and machine learning", Optimization Methods and Software 33 (2018) 889-906.
"""
import numpy as np
from scipy.special import expit, logsumexp, softmax

from .case import Case, workload


@workload("1000x10x25", "10000x10x25", tiny="20x3x2")
def gaussian_mixture(n, d, k):
    """Log-likelihood of n points in d dimensions under k Gaussians; the inverse factors Q are triangular,
    their diagonal is a logarithm, and they have a Wishart prior (without its constant)."""
    rng = np.random.default_rng(9)
    x = rng.standard_normal((n, d))
    factors = 0.3 * rng.standard_normal((k, d * (d + 1) // 2))
    arguments = rng.standard_normal(k), rng.standard_normal((k, d)), factors
    lower = np.tril_indices(d, -1)
    # Which entry of [diagonal, strictly lower part, 0] stands where in Q.
    where = np.full((d, d), d * (d + 1) // 2)
    where[np.diag_indices(d)] = np.arange(d)
    where[lower] = np.arange(d, d * (d + 1) // 2)
    constant = -0.5 * n * d * np.log(2.0 * np.pi)

    def program(xp):
        points, none, index = xp.constant(x.T.copy()), xp.constant(np.zeros((k, 1))), xp.constant(where)

        def f(alphas, means, factors):
            diagonal = xp.exp(factors[:, :d])
            Q = xp.concatenate([diagonal, factors[:, d:], none], 1)[:, index]
            scaled = Q @ (points - means[:, :, None])
            weight = alphas + factors[:, :d].sum(1)
            main = weight[:, None] - 0.5 * (scaled * scaled).sum(1)
            prior = 0.5 * ((diagonal * diagonal).sum() + (factors[:, d:] ** 2).sum())
            return constant + xp.logsumexp(main, 0).sum() - n * xp.logsumexp(alphas, 0) + prior

        return f

    def hand(alphas, means, factors):
        diagonal = np.exp(factors[:, :d])
        Q = np.zeros((k, d, d))
        Q[:, *np.diag_indices(d)], Q[:, *lower] = diagonal, factors[:, d:]
        centered = x.T - means[:, :, None]
        scaled = Q @ centered
        main = (alphas + factors[:, :d].sum(1))[:, None] - 0.5 * np.einsum("kdn,kdn->kn", scaled, scaled)
        value = constant + logsumexp(main, axis=0).sum() - n * logsumexp(alphas)
        value += 0.5 * ((diagonal**2).sum() + (factors[:, d:] ** 2).sum())
        p = softmax(main, axis=0)
        share = p.sum(1)
        scaled *= -p[:, None, :]
        gQ = scaled @ centered.transpose(0, 2, 1)
        gmeans = -np.einsum("kij,ki->kj", Q, scaled.sum(2))
        on = gQ[:, *np.diag_indices(d)] * diagonal + share[:, None] + diagonal**2
        gfactors = np.concatenate([on, gQ[:, *lower] + factors[:, d:]], 1)
        return value, [share - n * softmax(alphas), gmeans, gfactors]

    return Case(arguments, program, hand)


@workload(500, 30_000, tiny=30)
def bundle_adjustment(observations):
    """Half the sum of squared reprojection errors, with weights and their penalty; a camera: rotation vector,
    center, focal length, principal point, two radial distortions."""
    rng = np.random.default_rng(10)
    n, m = max(observations // 600, 4), observations // 4
    cameras = np.concatenate([0.2 * rng.standard_normal((n, 3)), rng.standard_normal((n, 3)),
                              rng.uniform(0.8, 1.2, (n, 1)), 0.1 * rng.standard_normal((n, 4))], axis=1)
    points = rng.standard_normal((m, 3)) + [0.0, 0.0, 8.0]
    weights, features = rng.uniform(0.5, 1.0, observations), 0.1 * rng.standard_normal((observations, 2))
    camera, point = rng.integers(n, size=observations), rng.integers(m, size=observations)

    def program(xp):
        ci, pi, fx, fy = (xp.constant(a) for a in (camera, point, features[:, 0], features[:, 1]))

        def f(cameras, points, weights):
            c, x = cameras[ci], points[pi] - cameras[ci, 3:6]
            r0, r1, r2 = c[:, 0], c[:, 1], c[:, 2]
            x0, x1, x2 = x[:, 0], x[:, 1], x[:, 2]
            # Rodrigues: x cos a + (e cross x) sin a + e (e . x) (1 - cos a)
            a = xp.sqrt(r0 * r0 + r1 * r1 + r2 * r2)
            cos, sin = xp.cos(a), xp.sin(a) / a
            along = (r0 * x0 + r1 * x1 + r2 * x2) * (1.0 - cos) / (a * a)
            y0 = x0 * cos + (r1 * x2 - r2 * x1) * sin + r0 * along
            y1 = x1 * cos + (r2 * x0 - r0 * x2) * sin + r1 * along
            y2 = x2 * cos + (r0 * x1 - r1 * x0) * sin + r2 * along
            u, v = y0 / y2, y1 / y2
            s = u * u + v * v
            scale = c[:, 6] * (1.0 + c[:, 9] * s + c[:, 10] * s * s)
            e0, e1 = weights * (scale * u + c[:, 7] - fx), weights * (scale * v + c[:, 8] - fy)
            z = 1.0 - weights * weights
            return 0.5 * ((e0 * e0).sum() + (e1 * e1).sum() + (z * z).sum())

        return f

    def hand(cameras, points, weights):
        c, x = cameras[camera].T, (points[point] - cameras[camera, 3:6]).T
        r, (fx, fy), w = c[:3], features.T, weights
        a2 = (r * r).sum(0)
        a = np.sqrt(a2)
        cos, sin = np.cos(a), np.sin(a) / a
        dot, versed, cross = (r * x).sum(0), (1.0 - cos) / a2, cross3(r, x)
        y = x * cos + cross * sin + r * (dot * versed)
        u, v = y[0] / y[2], y[1] / y[2]
        s = u * u + v * v
        radial = 1.0 + c[9] * s + c[10] * s * s
        p, q = c[6] * radial * u + c[7] - fx, c[6] * radial * v + c[8] - fy
        z = 1.0 - w * w
        value = 0.5 * ((w * p) @ (w * p) + (w * q) @ (w * q) + z @ z)

        gw = w * (p * p + q * q) - 2.0 * w * z
        gp, gq = w * w * p, w * w * q
        gc = np.empty_like(c)
        gc[7], gc[8] = gp, gq
        gscale = gp * u + gq * v
        gc[6], gradial = gscale * radial, gscale * c[6]
        gc[9], gc[10] = gradial * s, gradial * s * s
        gs = 2.0 * gradial * (c[9] + 2.0 * c[10] * s)
        gu, gv = gp * c[6] * radial + gs * u, gq * c[6] * radial + gs * v
        gy = np.stack([gu, gv, -(gu * u + gv * v)]) / y[2]
        # y = x cos + (r cross x) sin + r (r.x) versed, where sin and versed are divided by a and a^2
        gdot, gversed = versed * (gy * r).sum(0), dot * (gy * r).sum(0)
        gcos, gsin = (gy * x).sum(0) - gversed / a2, (gy * cross).sum(0)
        ga = -gcos * np.sin(a) + gsin * (cos - sin) / a - 2.0 * gversed * versed / a
        gx = gy * cos + cross3(gy, r) * sin + gdot * r
        gc[:3] = cross3(x, gy) * sin + gy * (dot * versed) + gdot * x + ga / a * r
        gc[3:6] = -gx
        # bincount sums rows by index: several times faster than np.add.at
        gcameras = np.stack([np.bincount(camera, row, n) for row in gc], axis=1)
        return value, [gcameras, np.stack([np.bincount(point, row, m) for row in gx], axis=1), gw]

    return Case((cameras, points, weights), program, hand)


def cross3(a, b):
    return np.stack([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])


@workload("2x128", "2x1024", tiny="2x4")
def lstm(layers, length):
    """Cross-entropy of a character sequence (14 bits each) under a diagonal long short-term memory."""
    rng = np.random.default_rng(11)
    d = 14
    main, extra = 0.5 * rng.standard_normal((2 * layers, 4 * d)), 0.5 * rng.standard_normal((3, d))
    state, sequence = rng.standard_normal((2 * layers, d)), (rng.random((length, d)) < 0.5) * 1.0

    def program(xp):
        state_, sequence_, nothing = xp.constant(state), xp.constant(sequence), xp.constant(np.float64(0.0))
        concatenate, sigmoid, tanh, exp, log = xp.concatenate, xp.sigmoid, xp.tanh, xp.exp, xp.log

        def step(state, item, main, extra):
            (hidden, cell, total), (now, then) = state, item
            x, hiddens, cells = now * extra[0], [], []
            for i in range(layers):
                gates = concatenate([x, hidden[i], x, hidden[i]]) * main[2 * i] + main[2 * i + 1]
                open_ = sigmoid(gates[: 3 * d])
                change = tanh(gates[3 * d :])
                cells.append(cell[i] * open_[:d] + open_[d : 2 * d] * change)
                x = open_[2 * d :] * tanh(cells[i])
                hiddens.append(x)
            y = x * extra[1] + extra[2]
            return (hiddens, cells, total + (then * (y - log(exp(y).sum() + 2.0))).sum()), None

        def f(main, extra):
            start = [state_[2 * i] for i in range(layers)], [state_[2 * i + 1] for i in range(layers)], nothing
            (_, _, total), _ = xp.scan(step, start, (sequence_[:-1], sequence_[1:]), main, extra)
            return -total / (d * (length - 1))

        return f

    def hand(main, extra):
        hidden, cell = [state[2 * i] for i in range(layers)], [state[2 * i + 1] for i in range(layers)]
        total, tape = 0.0, []
        for t in range(length - 1):
            x, kept = sequence[t] * extra[0], []
            for i in range(layers):
                inputs = np.concatenate([x, hidden[i], x, hidden[i]])
                gates = inputs * main[2 * i] + main[2 * i + 1]
                open_, change, old = expit(gates[: 3 * d]), np.tanh(gates[3 * d :]), cell[i]
                cell[i] = old * open_[:d] + open_[d : 2 * d] * change
                through = np.tanh(cell[i])
                x = hidden[i] = open_[2 * d :] * through
                kept.append((inputs, open_, change, old, through))
            y = x * extra[1] + extra[2]
            e = np.exp(y)
            s = e.sum() + 2.0
            total += sequence[t + 1] @ y - sequence[t + 1].sum() * np.log(s)
            tape.append((kept, x, e / s))

        scale = -1.0 / (d * (length - 1))
        gmain, gextra = np.zeros_like(main), np.zeros_like(extra)
        ghidden, gcell = [np.zeros(d) for _ in range(layers)], [np.zeros(d) for _ in range(layers)]
        ggates = np.empty(4 * d)
        for t in range(length - 2, -1, -1):
            kept, x, p = tape[t]
            gy = scale * (sequence[t + 1] - sequence[t + 1].sum() * p)
            gextra[1] += gy * x
            gextra[2] += gy
            gx = gy * extra[1]
            for i in range(layers - 1, -1, -1):
                inputs, open_, change, old, through = kept[i]
                gh = gx + ghidden[i]
                gc = gcell[i] + gh * open_[2 * d :] * (1.0 - through * through)
                ggates[:d], ggates[d : 2 * d], ggates[2 * d : 3 * d] = gc * old, gc * change, gh * through
                ggates[: 3 * d] *= open_ * (1.0 - open_)
                ggates[3 * d :] = gc * open_[d : 2 * d] * (1.0 - change * change)
                gcell[i] = gc * open_[:d]
                gmain[2 * i] += ggates * inputs
                gmain[2 * i + 1] += ggates
                ginputs = ggates * main[2 * i]
                gx, ghidden[i] = ginputs[:d] + ginputs[2 * d : 3 * d], ginputs[d : 2 * d] + ginputs[3 * d :]
            gextra[0] += gx * sequence[t]
        return scale * total, [gmain, gextra]

    return Case((main, extra), program, hand, scanned=program)
