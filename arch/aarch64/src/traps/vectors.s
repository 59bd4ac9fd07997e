// Exception vectors, and the accesses that survive a fault. See mod.rs.

.set FRAME, 304                     // TrapFrame: x0-x30, sp, elr, spsr, esr, far, vector, and 8 bytes of padding

// A vector has 128 bytes. It makes room for a frame on the stack, unless the stack cannot take one: misaligned, or not
// writable at that place, as after an overflow into the guard page. Storing there would only trap again, for ever. The
// MMU is asked first; no register is free to compute in, so one goes to a system register that nothing else uses while
// there is no user mode.
.macro VECTOR number
.balign 0x80
    msr     tpidrro_el0, x0
    sub     x0, sp, #FRAME
    tst     x0, #15
    b.ne    1f
    at      s1e1w, x0
    isb
    mrs     x0, par_el1
    tbnz    x0, #0, 1f
    mov     x0, sp
    sub     sp, sp, #FRAME
    b       2f
1:  mov     x0, sp                  // the stack pointer as it was, for the report
    msr     tpidr_el0, x0
    adrp    x0, {overflow_stack_top}
    add     x0, x0, :lo12:{overflow_stack_top}
    mov     sp, x0                  // the sum of two registers, and only one is free
    mrs     x0, tpidr_el1
    add     x0, sp, x0, uxtx        // this CPU's copy
    ldr     x0, [x0]
    sub     sp, x0, #FRAME
    mrs     x0, tpidr_el0
2:  str     x0, [sp, #31 * 8]
    mrs     x0, tpidrro_el0
    stp     x0, x1, [sp]
    mov     x1, #\number
    b       save_frame
.endm

.section .text.traps, "ax", %progbits
.balign 0x800
.global trap_vectors
trap_vectors:
.irp number, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    VECTOR \number
.endr

.balign 0x80
save_frame:
    stp     x2, x3, [sp, #2 * 8]
    stp     x4, x5, [sp, #4 * 8]
    stp     x6, x7, [sp, #6 * 8]
    stp     x8, x9, [sp, #8 * 8]
    stp     x10, x11, [sp, #10 * 8]
    stp     x12, x13, [sp, #12 * 8]
    stp     x14, x15, [sp, #14 * 8]
    stp     x16, x17, [sp, #16 * 8]
    stp     x18, x19, [sp, #18 * 8]
    stp     x20, x21, [sp, #20 * 8]
    stp     x22, x23, [sp, #22 * 8]
    stp     x24, x25, [sp, #24 * 8]
    stp     x26, x27, [sp, #26 * 8]
    stp     x28, x29, [sp, #28 * 8]
    str     x30, [sp, #30 * 8]
    mrs     x2, elr_el1
    mrs     x3, spsr_el1
    stp     x2, x3, [sp, #32 * 8]
    mrs     x4, esr_el1
    mrs     x5, far_el1
    stp     x4, x5, [sp, #34 * 8]
    stp     x1, xzr, [sp, #36 * 8]
    mov     x0, sp
    bl      trap_taken              // returns when the interrupted code is to go on, perhaps elsewhere; never from the
                                    // overflow stack
    ldp     x2, x3, [sp, #32 * 8]
    msr     elr_el1, x2
    msr     spsr_el1, x3
    ldp     x2, x3, [sp, #2 * 8]
    ldp     x4, x5, [sp, #4 * 8]
    ldp     x6, x7, [sp, #6 * 8]
    ldp     x8, x9, [sp, #8 * 8]
    ldp     x10, x11, [sp, #10 * 8]
    ldp     x12, x13, [sp, #12 * 8]
    ldp     x14, x15, [sp, #14 * 8]
    ldp     x16, x17, [sp, #16 * 8]
    ldp     x18, x19, [sp, #18 * 8]
    ldp     x20, x21, [sp, #20 * 8]
    ldp     x22, x23, [sp, #22 * 8]
    ldp     x24, x25, [sp, #24 * 8]
    ldp     x26, x27, [sp, #26 * 8]
    ldp     x28, x29, [sp, #28 * 8]
    ldr     x30, [sp, #30 * 8]
    ldp     x0, x1, [sp]
    add     sp, sp, #FRAME
    eret

// ---- accesses that survive ------------------------------------------------------------------------------------------
// A fault between probe_begin and probe_end goes on at probe_failed, with ESR in x0 and 1 in x1. Without one x1 is 0.
// None of them uses the stack, so that only the program counter must change. The barriers wait for errors that
// arrive late, as SError. Loads, of device registers as a rule, have acquire semantics: see cpu/errata.rs.
.balign 4
.global probe_begin, probe_end, probe_failed
.global probe_load_byte, probe_load_half, probe_load_word, probe_store_byte, probe_store_half, probe_store_word
.global probe_copy, probe_pending_error
.global probe_semihosting, probe_hvc, probe_smc
probe_begin:
probe_load_byte:                    // x0 address -> x0 byte
    ldarb   w0, [x0]
    b       probe_done
probe_load_word:                    // x0 address -> x0 32 bits
    ldar    w0, [x0]
    b       probe_done
probe_load_half:                    // x0 address -> x0 16 bits
    ldarh   w0, [x0]
    b       probe_done
probe_store_byte:                   // x0 address, w1 byte
    strb    w1, [x0]
    b       probe_done
probe_store_half:                   // x0 address, w1 16 bits
    strh    w1, [x0]
    b       probe_done
probe_store_word:                   // x0 address, w1 32 bits
    str     w1, [x0]
    b       probe_done
probe_pending_error:                // takes an SError that waits; they stay unmasked
    msr     daifclr, #4
    b       probe_done
probe_semihosting:                  // w0 operation, x1 parameter; undefined where nobody debugs
    hlt     #0xf000
    b       probe_done
probe_hvc:                          // w0 function, x1 to x3 arguments; undefined without EL2
    hvc     #0
    b       probe_done
probe_smc:                          // w0 function, x1 to x3 arguments; undefined without EL3
    smc     #0
    b       probe_done
probe_copy:                         // x0 to, x1 from, x2 bytes
    cbz     x2, probe_done
    ldrb    w3, [x1], #1
    strb    w3, [x0], #1
    sub     x2, x2, #1
    b       probe_copy
probe_done:
    dsb     sy
    isb
    mov     x1, xzr
probe_end:
    ret
probe_failed:
    ret

// A fault of the jump itself goes on at probe_execute_failed. It is known by the return address, which no other call
// has.
.global probe_execute, probe_execute_return, probe_execute_failed
probe_execute:                      // x0 where to
    stp     x29, x30, [sp, #-16]!
    mov     x29, sp
    blr     x0
probe_execute_return:
    mov     x1, xzr
probe_execute_failed:
    ldp     x29, x30, [sp], #16
    ret
