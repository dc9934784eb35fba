#pragma once
#include <math.h>
#include <cmath>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <algorithm>
#include <limits>
#include <tuple>
#include <utility>
#include <type_traits>
#include <vector>
#include <ucontext.h>
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __noinline__
#define __launch_bounds__(...)
#define __shared__ static
#define __constant__ static
#define __align__(n) __attribute__((aligned(n)))
#define CUDART_INF INFINITY
struct uint3 { unsigned x, y, z; }; struct dim3 { unsigned x, y, z; };
struct int2 { int x, y; }; struct double2 { double x, y; }; struct float2 { float x, y; };
static uint3 threadIdx, blockIdx; static dim3 blockDim, gridDim; static const int warpSize = 32;
static char* emu_shared;
using std::isnan; using std::isinf; using std::isfinite; using std::signbit;
namespace emu {
static ucontext_t home; static std::vector<ucontext_t> threads; static std::vector<char> done; static unsigned me;
static void (*body)(void*); static void* given;
inline void yield(char how) { unsigned t = me; done[t] = how; swapcontext(&threads[t], &home); }
inline void start() { body(given); done[me] = 1; }
inline void place(unsigned t) { threadIdx = {t % blockDim.x, t / blockDim.x % blockDim.y, t / blockDim.x / blockDim.y}; me = t; }
inline void run(void (*f)(void*), void* args, const unsigned* g, unsigned shared, bool fibers) {
  static std::vector<char> memory(49152 + 64); emu_shared = (char*)(((size_t)memory.data() + 63) & ~63ul);
  static std::vector<char> stacks;
  gridDim = {g[0], g[1], g[2]}; blockDim = {g[3], g[4], g[5]};
  unsigned n = g[3] * g[4] * g[5]; const size_t S = 65536;
  for (unsigned z = 0; z < g[2]; z++) for (unsigned y = 0; y < g[1]; y++) for (unsigned x = 0; x < g[0]; x++) {
    blockIdx = {x, y, z};
    if (!fibers) { for (unsigned t = 0; t < n; t++) { place(t); f(args); } continue; }
    body = f; given = args; memset(emu_shared, 0xFF, 49152);
    if (stacks.size() < n * S) stacks.resize(n * S);
    threads.resize(n); done.assign(n, 0);
    for (unsigned t = 0; t < n; t++) {
      getcontext(&threads[t]); threads[t].uc_stack = {stacks.data() + t * S, 0, S}; threads[t].uc_link = &home;
      makecontext(&threads[t], start, 0);
    }
    for (;;) {
      for (unsigned t = 0; t < n; t++) if (!done[t]) { place(t); swapcontext(&home, &threads[t]); }
      bool freed = false;
      for (unsigned t = 0; t < n; t++) if (done[t] == 3) { done[t] = 0; freed = true; }
      if (freed) continue;
      for (unsigned t = 0; t < n; t++) if (done[t] == 2) { done[t] = 0; freed = true; }
      if (!freed) break;
    }
  }
}
template <class... A> struct Call { void (*f)(A...); std::tuple<std::decay_t<A>...> t; };
template <class... A, size_t... I> void* bound(void (*f)(A...), void** p, std::index_sequence<I...>) {
  return new Call<A...>{f, std::tuple<std::decay_t<A>...>(*(std::decay_t<A>*)p[I]...)}; }
template <class... A> void* bind(void (*f)(A...), void** p) { return bound(f, p, std::index_sequence_for<A...>()); }
template <class... A> void once(void* c) { auto* k = (Call<A...>*)c; std::apply(k->f, k->t); }
template <class... A> void launch(void (*)(A...), void* c, const unsigned* g, unsigned s, bool fibers) { run(once<A...>, c, g, s, fibers); }
}
#define EMU_KERNEL(alias, fn, fibers) extern "C" void* alias##__bind(void** p) { return emu::bind(fn, p); } \
  extern "C" void alias##__run(void* c, const unsigned* g, unsigned s) { emu::launch(fn, c, g, s, fibers); }
inline void __syncthreads() { emu::yield(2); }
inline void __syncwarp(unsigned = 0xffffffffu) { emu::yield(3); }
inline void __threadfence() {}
inline void __threadfence_block() {}
template <class T> T emu_exchange(T v, int from) {
  static std::vector<char> buffer(1024 * 16); unsigned t = emu::me; memcpy(&buffer[t * 16], &v, sizeof(T)); emu::yield(3);
  T r; memcpy(&r, &buffer[(t / 32 * 32 + from) * 16], sizeof(T)); emu::yield(3); return r; }
template <class T> T __shfl_xor_sync(unsigned, T v, int m, int = 32) { return emu_exchange(v, (emu::me % 32) ^ m); }
template <class T> T __shfl_down_sync(unsigned, T v, unsigned d, int = 32) { int l = emu::me % 32; return emu_exchange(v, l + d < 32 ? l + d : l); }
template <class T> T __shfl_up_sync(unsigned, T v, unsigned d, int = 32) { int l = emu::me % 32; return emu_exchange(v, l >= (int)d ? l - d : l); }
template <class T> T __shfl_sync(unsigned, T v, int s, int = 32) { return emu_exchange(v, s); }
template <class T, class U> T atomicAdd(T* p, U v) { T o = *p; *p = o + (T)v; return o; }
template <class T, class U> T atomicSub(T* p, U v) { T o = *p; *p = o - (T)v; return o; }
template <class T, class U> T atomicMax(T* p, U v) { T o = *p; *p = std::max(o, (T)v); return o; }
template <class T, class U> T atomicMin(T* p, U v) { T o = *p; *p = std::min(o, (T)v); return o; }
template <class T> T atomicExch(T* p, T v) { T o = *p; *p = v; return o; }
template <class T> T atomicCAS(T* p, T c, T v) { T o = *p; if (o == c) *p = v; return o; }
template <class T> T __ldg(const T* p) { return *p; }
inline long long __double_as_longlong(double x) { long long r; memcpy(&r, &x, 8); return r; }
inline double __longlong_as_double(long long x) { double r; memcpy(&r, &x, 8); return r; }
inline int __float_as_int(float x) { int r; memcpy(&r, &x, 4); return r; }
inline unsigned __float_as_uint(float x) { unsigned r; memcpy(&r, &x, 4); return r; }
inline float __int_as_float(int x) { float r; memcpy(&r, &x, 4); return r; }
inline float __uint_as_float(unsigned x) { float r; memcpy(&r, &x, 4); return r; }
inline int __double2hiint(double x) { return (int)(__double_as_longlong(x) >> 32); }
inline int __double2loint(double x) { return (int)__double_as_longlong(x); }
inline double __hiloint2double(int h, int l) { return __longlong_as_double(((long long)h << 32) | (unsigned)l); }
inline unsigned short __float2half_rn(float f) { _Float16 h = (_Float16)f; unsigned short r; memcpy(&r, &h, 2); return r; }
inline float __half2float(unsigned short v) { _Float16 h; memcpy(&h, &v, 2); return (float)h; }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) { return (unsigned __int128)a * b >> 64; }
inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned long long)a * b >> 32; }
inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll(x) : 64; }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline double rsqrt(double x) { return 1 / std::sqrt(x); }
inline float rsqrtf(float x) { return 1 / std::sqrt(x); }
inline float rsqrt(float x) { return 1 / std::sqrt(x); }
inline double rcbrt(double x) { return 1 / std::cbrt(x); }
inline double sinpi(double x) { return std::sin(M_PI * std::fmod(x, 2.)); }
inline double cospi(double x) { return std::cos(M_PI * std::fmod(x, 2.)); }
inline double exp10(double x, int) { return std::pow(10.0, x); }
inline double normcdf(double x) { return 0.5 * std::erfc(-x * M_SQRT1_2); }
double erfinv_(double);
inline double emu_erfcinv(double y) { // Newton's on log scale
  if (y == 0) return INFINITY; if (y == 2) return -INFINITY; if (!(y > 0 && y < 2)) return NAN;
  bool flip = y > 1; if (flip) y = 2 - y; double t = std::sqrt(-2 * std::log(y / 2));
  double x = 0.70711 * (t - (2.30753 + t * 0.27061) / (1 + t * (0.99229 + t * 0.04481)));
  for (int k = 0; k < 4; k++) { double e = std::erfc(x) - y; x += e / (1.12837916709551257 * std::exp(-x * x) - x * e); }
  return flip ? -x : x; }
inline double erfcinv(double y) { return emu_erfcinv(y); }
inline double erfinv(double y) { if (std::fabs(y) > 0.5) return y > 0 ? emu_erfcinv(1 - y) : -emu_erfcinv(1 + y);
  double x = y * 0.886226925452758; for (int k = 0; k < 60; k++) { double e = std::erf(x) - y, d = 1.12837916709551257 * std::exp(-x * x); double s = e / d; x -= s / (1 + x * s); if (std::fabs(s) < 1e-17) break; } return x; }
inline double normcdfinv(double p) { return std::fabs(p - 0.5) < 0.25 ? M_SQRT2 * erfinv(2 * p - 1) : -M_SQRT2 * erfcinv(2 * p); }
inline double erfcx(double x) { if (x < 25) return std::exp(x * x) * std::erfc(x); double r = 1 / (x * x); return 0.56418958354775628 / x * (1 - r / 2 + 0.75 * r * r); }
inline double cyl_bessel_i0(double x) { return std::cyl_bessel_i(0., std::fabs(x)); }
inline double cyl_bessel_i1(double x) { return x < 0 ? -std::cyl_bessel_i(1., -x) : std::cyl_bessel_i(1., x); }
inline int max(int a, int b) { return a > b ? a : b; }
inline int min(int a, int b) { return a < b ? a : b; }
#define EMU2(T) inline T max(T a, T b) { return a > b ? a : b; } inline T min(T a, T b) { return a < b ? a : b; }
EMU2(unsigned) EMU2(long) EMU2(unsigned long) EMU2(long long) EMU2(unsigned long long)
inline double max(double a, double b) { return fmax(a, b); } inline double min(double a, double b) { return fmin(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); } inline float min(float a, float b) { return fminf(a, b); }
inline void __trap() { abort(); }
inline void __nanosleep(unsigned) {}
#define fdividef(a, b) ((a) / (b))
inline void sincos_(double x, double* s, double* c) { *s = std::sin(x); *c = std::cos(x); }
#define __half_as_ushort(h) (*(const unsigned short*)&(h))
#define __ushort_as_half(u) (*(const half*)&(u))
inline float cyl_bessel_i0f(float x) { return cyl_bessel_i0((double)x); }
inline float cyl_bessel_i1f(float x) { return cyl_bessel_i1((double)x); }
inline float normcdff(float x) { return normcdf((double)x); } inline float normcdfinvf(float x) { return normcdfinv((double)x); }
inline float erfcxf(float x) { return erfcx((double)x); } inline float erfinvf(float x) { return erfinv((double)x); } inline float erfcinvf(float x) { return erfcinv((double)x); }
inline float sinpif(float x) { return sinpi((double)x); } inline float cospif(float x) { return cospi((double)x); }
