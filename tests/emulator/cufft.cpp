// cuFFT by sums, on host memory.
#include <complex>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>
#define C extern "C"
typedef std::complex<double> Z; typedef std::complex<float> F;
struct Plan { int rank; int n[3]; int in[3], on[3]; int is, id, os, od, type, batch; void* stream; };
static std::vector<Plan*> plans;
C int emu_captured(void* s, void (*f)(void*), void* data);
C int cufftCreate(int* p) { plans.push_back(new Plan()); *p = plans.size(); return 0; }
C int cufftDestroy(int) { return 0; }
C int cufftSetAutoAllocation(int, int) { return 0; }
C int cufftSetWorkArea(int, void*) { return 0; }
C int cufftSetStream(int p, void* s) { plans[p - 1]->stream = s; return 0; }
C int cufftGetVersion(int* v) { *v = 11000; return 0; }
C int cufftMakePlan1d(int h, int n, int type, int batch, size_t* w) {
  Plan* p = plans[h - 1]; *p = Plan{1, {n}, {n}, {n}, 1, n, 1, n, type, batch, p->stream};
  if (type == 0x2a || type == 0x6a) p->od = n / 2 + 1; if (type == 0x2c || type == 0x6c) p->id = n / 2 + 1; *w = 1024; return 0; }
C int cufftMakePlanMany(int h, int rank, int* n, int* in, int is, int id, int* on, int os, int od, int type, int batch, size_t* w) {
  Plan* p = plans[h - 1]; p->rank = rank; p->type = type; p->batch = batch; size_t a = 1, b = 1;
  for (int i = 0; i < rank; i++) { p->n[i] = n[i]; int half = i == rank - 1 ? n[i] / 2 + 1 : n[i];
    p->in[i] = in ? in[i] : (type == 0x2c || type == 0x6c) ? half : n[i]; p->on[i] = on ? on[i] : (type == 0x2a || type == 0x6a) ? half : n[i]; a *= p->in[i]; b *= p->on[i]; }
  p->is = in ? is : 1; p->id = in ? id : a; p->os = on ? os : 1; p->od = on ? od : b; *w = 1024; return 0; }
static long off(const Plan* p, const int* e, const int* k, int s) { long r = k[0]; for (int i = 1; i < p->rank; i++) r = r * e[i] + k[i]; return r * s; }
template <class I, class O> void go(Plan* p, I* x, O* y, int dir, bool rin, bool rout) {
  int N = 1; for (int i = 0; i < p->rank; i++) N *= p->n[i];
  int L = p->n[p->rank - 1], H = L / 2 + 1;
  for (int b = 0; b < p->batch; b++) {
    std::vector<Z> v(N); int k[3];
    for (int t = 0; t < N; t++) { int r = t; for (int i = p->rank - 1; i >= 0; i--) { k[i] = r % p->n[i]; r /= p->n[i]; }
      bool conj = false;
      if (rout && k[p->rank - 1] >= H) { conj = true; for (int i = 0; i < p->rank; i++) k[i] = (p->n[i] - k[i]) % p->n[i]; }
      Z q = Z(x[b * (long)p->id + off(p, p->in, k, p->is)]); v[t] = conj ? std::conj(q) : q; }
    int stride = N;
    for (int a = 0; a < p->rank; a++) { int n = p->n[a]; stride /= n; std::vector<Z> w(n), u(n);
      for (int j = 0; j < n; j++) w[j] = std::polar(1.0, dir * 2 * M_PI * j / n);
      for (int s = 0; s < N; s++) if (s / stride % n == 0) {
        for (int f = 0; f < n; f++) { Z q = 0; for (int j = 0; j < n; j++) q += v[s + j * stride] * w[(long)f * j % n]; u[f] = q; }
        for (int f = 0; f < n; f++) v[s + f * stride] = u[f]; } }
    for (int t = 0; t < N; t++) { int r = t; for (int i = p->rank - 1; i >= 0; i--) { k[i] = r % p->n[i]; r /= p->n[i]; }
      if (rin && k[p->rank - 1] >= H) continue;
      O& o = y[b * (long)p->od + off(p, p->on, k, p->os)];
      if constexpr (std::is_floating_point_v<O>) o = v[t].real(); else o = O(v[t].real(), v[t].imag()); }
  }
}
template <class I, class O> struct Job { Plan p; I* x; O* y; int dir; bool a, b; };
template <class I, class O> int start(int h, void* x, void* y, int dir, bool a, bool b) {
  auto* j = new Job<I, O>{*plans[h - 1], (I*)x, (O*)y, dir, a, b};
  auto f = [](void* q) { auto* j = (Job<I, O>*)q; go(&j->p, j->x, j->y, j->dir, j->a, j->b); };
  if (!emu_captured(plans[h - 1]->stream, f, j)) f(j); return 0; }
C int cufftExecC2C(int h, void* x, void* y, int d) { return start<F, F>(h, x, y, d, 0, 0); }
C int cufftExecZ2Z(int h, void* x, void* y, int d) { return start<Z, Z>(h, x, y, d, 0, 0); }
C int cufftExecR2C(int h, void* x, void* y) { return start<float, F>(h, x, y, -1, 1, 0); }
C int cufftExecD2Z(int h, void* x, void* y) { return start<double, Z>(h, x, y, -1, 1, 0); }
C int cufftExecC2R(int h, void* x, void* y) { return start<F, float>(h, x, y, 1, 0, 1); }
C int cufftExecZ2D(int h, void* x, void* y) { return start<Z, double>(h, x, y, 1, 0, 1); }
