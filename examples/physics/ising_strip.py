"""The Ising model on an endless strip: thermodynamics as derivatives of one eigenvalue.

The partition function of a periodic strip of L columns and N rows is Z = trace T^N, so for N -> infinity the
free energy per site is -kT f with f(K) = log(largest eigenvalue of T) / L, K = J/kT, and

    energy u / J = -f'(K),        specific heat c / k = K^2 f''(K),        its peak: f''' enters.

f''' comes of trace T^N itself, N = 4096: T may have equal eigenvalues below the largest, through whose vectors no
third derivative can pass, and a power of T does not mind.

T has 2^L rows.  The largest eigenvector is unchanged by translations, reflection and the flip of all spins, so
T is folded onto the classes of rows under these: 1024 -> 44 for L = 10.

References: L. Onsager, Phys. Rev. 65 (1944) 117; B. Kaufman, Phys. Rev. 76 (1949) 1232 (finite strips);
central charge 1/2 from f(L) = f(infinity) + pi c / (6 L^2): H. Bloete, J. Cardy, M. Nightingale, PRL 56 (1986) 742.
"""

import numpy as np
import report

import difftensor as dif
import optim

KC = np.log(1 + np.sqrt(2)) / 2
CATALAN = 0.915965594177219015
HEAT = 1.325924121851651          # K^2 f'' of Kaufman's sum for L = 10 at Kc, differentiated with 40 digits (mpmath)


def transfer_matrix(L, device):
    """The function K -> T for L columns, folded."""
    rows = np.arange(2**L)
    spins = 1 - 2 * (rows[:, None] >> np.arange(L) & 1)
    weights = 2**np.arange(L)
    images = [np.roll(s, k, axis=1) for s in (spins, spins[:, ::-1]) for k in range(L)]
    codes = [(image < 0) @ weights for image in images]
    classes, of_row = np.unique(np.min([*codes, *(rows[-1] - np.array(codes))], axis=0), return_inverse=True)
    size = np.bincount(of_row)
    fold = (of_row[:, None] == np.arange(len(classes))) / np.sqrt(size)
    along = (spins * np.roll(spins, 1, axis=1)).sum(axis=1)
    bonds = 0.5 * (along[classes, None] + along) + spins[classes] @ spins.T
    root, fold, bonds = report.sent(device, np.sqrt(size)[:, None], fold, bonds)

    return lambda K: root * (np.exp(K * bonds) @ fold)


def strip(L, device="cpu"):
    """f(K) of the endless strip."""
    T = transfer_matrix(L, device)
    return lambda K: np.log(np.linalg.eigvalsh(T(K))[-1]) / L


def torus(L, device="cpu", doublings=12):
    """f(K) for 2^doublings rows: log trace T^N / (N L), by squaring; each power is scaled to trace 1 first."""
    T = transfer_matrix(L, device)

    def f(K):
        power, total = T(K), 0.0
        for k in range(doublings + 1):
            trace = np.trace(power)
            total = total + np.log(trace) / 2**k
            power = power / trace
            power = power @ power
        return total / L

    return f


def kaufman(L, K):
    """The same f in closed form: a sum over free fermions."""
    q = np.pi * (2 * np.arange(L) + 1) / L
    gamma = np.arccosh(np.cosh(2 * K)**2 / np.sinh(2 * K) - np.cos(q))
    return 0.5 * np.log(2 * np.sinh(2 * K)) + gamma.sum() / (2 * L)


def onsager(K):
    """Specific heat of the infinite lattice, Onsager's (117), by elliptic integrals."""
    from scipy.special import ellipe, ellipk

    k = 2 * np.sinh(2 * K) / np.cosh(2 * K)**2
    m = 2 * np.tanh(2 * K)**2 - 1
    return 2 / np.pi * (K / np.tanh(2 * K))**2 * (2 * ellipk(k**2) - 2 * ellipe(k**2)
                                                  - (1 - m) * (np.pi / 2 + m * ellipk(k**2)))


def main(small=False, device="cpu"):
    f, kc = strip(10, device), dif.tensor(KC, device=device)
    heat = lambda K: K**2 * dif.grad(dif.grad(f))(K)
    value, slope, at_kc = float(f(kc)), float(dif.grad(f)(kc)), float(heat(kc))
    infinite = 0.5 * np.log(2) + 2 * CATALAN / np.pi
    widths = (4, 6, 8) if small else (4, 6, 8, 10, 12)
    charges = [6 * L**2 * (float(strip(L, device)(kc)) - infinite) / np.pi for L in widths]
    u, v, w = charges[-3:]                                        # corrections in powers of 1/L^2
    charge = w - (w - v)**2 / ((w - v) - (v - u))
    report.agreement("Strip of 10 columns at Kc, and the central charge from the widths " + str(widths), [
        ("f", value, 0.9323288953175849), ("energy / J", -slope, -np.sqrt(2)), ("specific heat / k", at_kc, HEAT),
        ("f by Kaufman's sum", value, kaufman(10, KC)), ("central charge", charge, 0.5)])

    peaks = {}
    for L in (4, 8) if small else (4, 6, 8, 10):
        f, start = torus(L, device), dif.tensor(0.4, device=device)
        fit = optim.minimize(lambda K, f=f: -(K**2) * dif.grad(dif.grad(f))(K), start, method="BFGS")
        peaks[L] = float(fit.x), -float(fit.fun)
    report.table("Peak of the specific heat", [(f"L = {L}", *peak, KC - peak[0]) for L, peak in peaks.items()],
                 ("", "K", "height", "Kc - K"))
    picture(peaks, 12 if small else 60)
    return {"f": value, "energy": -slope, "heat": at_kc, "charge": charge, "peaks": peaks}


def picture(peaks, points):
    figure = report.figure(11, 5)
    left, right = figure.subplots(1, 2, width_ratios=[1.6, 1])
    K = np.linspace(0.28, 0.6, points)
    for L, color in zip(peaks, report.shades(len(peaks))):
        f = strip(L)
        left.plot(1 / K, [k**2 * float(dif.grad(dif.grad(f))(k)) for k in K], color=color, label=f"L = {L}")
        left.plot(1 / peaks[L][0], peaks[L][1], "o", color=color, ms=5)
    fine = np.linspace(0.28, 0.6, 2000)
    left.plot(1 / fine, onsager(fine), color=report.RED, lw=1.2, label="Onsager")
    left.set(title="Specific heat: two derivatives of an eigenvalue", xlabel=r"$kT/J$", ylabel=r"$c/k$", ylim=(0, 2.2))
    left.legend()
    L = np.array(list(peaks))
    right.plot(np.log(L), [peak for _, peak in peaks.values()], "o-", color=report.BLUE)
    slope = 8 * KC**2 / np.pi                                     # Onsager's logarithm: amplitude 8 Kc^2 / pi
    right.plot(np.log(L), peaks[L[-1]][1] + slope * np.log(L / L[-1]), "--", color=report.RED,
               label=r"slope $8K_c^2/\pi$")
    right.set(title="The peak grows as log L", xlabel="log L", ylabel="height")
    right.legend()
    return report.save(figure, "ising_strip")


if __name__ == "__main__":
    main(device=report.device())
