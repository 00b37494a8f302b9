// Evaluates a verilated function of two operands from Python through ctypes: no clock, no state.

#include <cstdint>

#include "Vtop.h"
#include "verilated.h"

extern "C" void combinational_run(const uint32_t* a, const uint32_t* b, uint32_t* result,
                                  int64_t count) {
    VerilatedContext context;
    Vtop top{&context};
    for (int64_t i = 0; i < count; ++i) {
        top.a = a[i];
        top.b = b[i];
        top.eval();
        result[i] = top.result;
    }
    top.final();
}
