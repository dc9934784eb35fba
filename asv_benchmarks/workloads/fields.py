"""Partial differential equations, stepped in time by slices and by Fourier transforms."""
import numpy as np

from .case import Case, workload

HEAT_STEPS = 100


def heat_data(n):
    rng = np.random.default_rng(4)
    return rng.standard_normal((n, n)), rng.uniform(0.05, 0.2, (n, n))


def heat_hand(u, k):
    """One pass keeps the Laplacians, the way back is their transpose; everything in place."""
    n = len(u)
    U, laps, t = np.zeros((n + 2, n + 2)), np.empty((HEAT_STEPS, n, n)), np.empty((n, n))
    inner = U[1:-1, 1:-1]
    inner[:] = u
    for lap in laps:
        np.add(U[2:, 1:-1], U[:-2, 1:-1], out=lap)
        lap += U[1:-1, 2:]
        lap += U[1:-1, :-2]
        lap -= np.multiply(inner, 4.0, out=t)
        inner += np.multiply(k, lap, out=t)
    value = np.vdot(inner, inner) / n**2
    g, gk, T = inner * (2.0 / n**2), np.zeros((n, n)), np.zeros((n + 2, n + 2))
    middle = T[1:-1, 1:-1]
    for lap in laps[::-1]:
        gk += np.multiply(g, lap, out=t)
        np.multiply(k, g, out=middle)  # zero outside, so that the transposed Laplacian is the Laplacian
        g += T[2:, 1:-1]
        g += T[:-2, 1:-1]
        g += T[1:-1, 2:]
        g += T[1:-1, :-2]
        g -= np.multiply(middle, 4.0, out=t)
    return value, [g, gk]


@workload(64, 256, tiny=4)
def heat2d(n):
    """100 explicit steps of the heat equation on n x n cells, derived by start and conductivity; slices."""
    def program(xp):
        pad = xp.pad

        def step(u, _, k):
            U = pad(u)
            lap = U[2:, 1:-1] + U[:-2, 1:-1] + U[1:-1, 2:] + U[1:-1, :-2] - 4.0 * u
            return u + k * lap, None

        def f(u, k):
            u, _ = xp.scan(step, u, HEAT_STEPS, k)
            return (u * u).sum() / n**2

        return f

    return Case(heat_data(n), program, heat_hand, scanned=program)


@workload(64, 256, tiny=4, loop=True, writes=True)
def heat2d_in_place(n):
    """The same equation with the field updated in place."""
    def program(xp):
        def f(u, k):
            U = xp.copy(xp.pad(u))
            for _ in range(HEAT_STEPS):
                inner = U[1:-1, 1:-1]
                lap = U[2:, 1:-1] + U[:-2, 1:-1] + U[1:-1, 2:] + U[1:-1, :-2] - 4.0 * inner
                U[1:-1, 1:-1] = inner + k * lap
            return (U * U).sum() / n**2

        return f

    return Case(heat_data(n), program, heat_hand)


@workload("500x250", "2000x1000", tiny="12x10")
def wave1d_inversion(cells, steps):
    """Seismic inversion in one dimension: a trace's misfit, derived by the squared speed of every cell."""
    z, t = np.arange(cells), np.arange(steps)
    speed2 = 0.3 + 0.1 * np.sin(5.0 * z / cells)
    source = np.exp(-0.5 * (z - cells // 4) ** 2)
    a = (0.05 * (t - 30.0)) ** 2
    wavelet = ((1.0 - 2.0 * a) * np.exp(-a)).tolist()  # Ricker's
    receiver, observed = cells // 2, 0.1 * np.sin(0.1 * t)

    def program(xp):
        pulse, data, pad = xp.constant(source), xp.constant(observed), xp.pad

        def step(state, w, speed2):
            old, u = state
            U = pad(u)
            new = 2.0 * u - old + speed2 * (U[2:] - 2.0 * u + U[:-2]) + w * pulse
            return (u, new), new[receiver]

        def f(speed2):
            _, trace = xp.scan(step, (0.0 * speed2, 0.0 * speed2), wavelet, speed2)
            misfit = xp.stack(trace) - data
            return 0.5 * (misfit * misfit).sum()

        return f

    def hand(speed2):
        U, V, scratch = np.zeros(cells + 2), np.zeros(cells + 2), np.empty(cells)
        laps, trace = np.empty((steps, cells)), np.empty(steps)
        for i, lap in enumerate(laps):
            np.add(U[2:], U[:-2], out=lap)
            lap -= np.multiply(U[1:-1], 2.0, out=scratch)
            V[1:-1] *= -1.0
            V += U
            V += U
            V[1:-1] += np.multiply(speed2, lap, out=scratch)
            V[1:-1] += np.multiply(source, wavelet[i], out=scratch)
            U, V = V, U
            trace[i] = U[receiver + 1]
        misfit = trace - observed
        g, old, gc = np.zeros(cells), np.zeros(cells), np.zeros(cells)  # cotangents of u and of the old u
        T = np.zeros(cells + 2)
        for i in range(steps - 1, -1, -1):
            g[receiver] += misfit[i]
            gc += np.multiply(g, laps[i], out=scratch)
            np.multiply(speed2, g, out=T[1:-1])
            old += T[2:]
            old += T[:-2]
            old += np.multiply(np.subtract(g, T[1:-1], out=scratch), 2.0, out=scratch)
            g *= -1.0
            g, old = old, g
        return 0.5 * misfit @ misfit, [gc]

    return Case((speed2,), program, hand, scanned=program)


@workload(256, 4096, tiny=16)
def burgers_spectral(n):
    """100 pseudo-spectral steps of Burgers' equation with exact viscous decay, derived by the start."""
    steps, dt, viscosity = 100, 0.25 / n, 0.01  # stable: dt k |u| < 1
    x = 2.0 * np.pi * np.arange(n) / n
    k = np.arange(n // 2 + 1)
    decay = np.exp(-viscosity * np.minimum(k, 200) ** 2 * dt)
    flux = 0.5j * dt * np.where(k < n // 3, k, 0)  # Orszag's two-thirds rule
    target = np.cos(x)

    def program(xp):
        E, H, wanted = xp.constant(decay), xp.constant(flux), xp.constant(target)
        rfft, irfft = xp.rfft, xp.irfft

        def step(v, _):
            w = irfft(v, n=n)
            return E * (v - H * rfft(w * w)), None

        def f(u):
            v, _ = xp.scan(step, rfft(u), steps)
            misfit = irfft(v, n=n) - wanted
            return (misfit * misfit).sum() / n

        return f

    def hand(u):
        # Adjoints, real inner product: irfft* = m/n rfft, rfft* = n irfft(./m); m = 1 at the ends, else 2.
        m = np.full(n // 2 + 1, 2.0)
        m[[0, -1]] = 1.0
        fields, v = [], np.fft.rfft(u)
        for _ in range(steps):
            w = np.fft.irfft(v, n=n)
            fields.append(w)
            v = decay * (v - flux * np.fft.rfft(w * w))
        misfit = np.fft.irfft(v, n=n) - target
        back, forth = n * np.conj(flux) * -decay / m, m / n
        g = forth * np.fft.rfft(misfit * (2.0 / n))
        for w in reversed(fields):
            gw = np.fft.irfft(back * g, n=n)
            gw *= w
            g = decay * g + forth * np.fft.rfft(gw * 2.0)
        return misfit @ misfit / n, [n * np.fft.irfft(g / m, n=n)]

    return Case((np.sin(x) + 0.5 * np.cos(2.0 * x),), program, hand, scanned=program)
