// loader_enter(x0 = transition root, x1 = lower half's root, x2 = kernel's root, x3 = distance to the page's other
//              address, x4 = entry, x5 = end of the stack, x6 = TCR_EL1)
//
// From EL2 it writes the registers of EL1, whose MMU is off for us, and returns to the kernel there. From EL1 it turns
// the MMU off, which it can because the firmware maps all memory at its own address and this code is cleaned to memory;
// turns it on with the transition's tables, which map this page there; goes to the page's other address, in the
// kernel's half, and leaves the lower half. It does not cross a page: less than 1024 bytes that begin at a multiple of
// 1024.
//
// What the protocol wants: EL1 with SP_EL0, everything masked, no registers but sp with anything in them, FP off,
// memory type 0 cached and type 1 for framebuffers.

.set SCTLR_MMU_OFF, 0x30d00800      // the bits that are 1 on every ARMv8.0
.set SPSR_EL1T_MASKED, 0x3c4
.set HCR_E2H_SHIFT, 34

.text
.balign 1024
.global loader_enter
loader_enter:
    msr     daifset, #0xf
    movz    x7, #0x199d             // SCTLR_EL1: I, C, M, stack alignment; the bits that are 1
    movk    x7, #0x30d0, lsl #16
    mov     x8, #0x44ff             // MAIR_EL1: cached; uncached; devices (type 2)
    mov     x10, #SPSR_EL1T_MASKED
    mrs     x9, currentel
    cmp     x9, #8
    b.eq    5f

    mrs     x9, sctlr_el1
    bic     x9, x9, #1              // M
    bic     x9, x9, #4              // C
    msr     sctlr_el1, x9
    isb
    msr     mair_el1, x8
    msr     tcr_el1, x6
    msr     ttbr0_el1, x0
    msr     ttbr1_el1, x2
    isb
    tlbi    vmalle1
    ic      iallu
    dsb     sy
    isb
    msr     sctlr_el1, x7
    isb
    adr     x9, 2f
    add     x9, x9, x3
    br      x9
2:  msr     ttbr0_el1, x1
    isb
    tlbi    vmalle1
    dsb     sy
    isb
    msr     cpacr_el1, xzr
    msr     spsel, #1               // so that the other stack pointer can be written
    msr     sp_el0, x5
    msr     spsr_el1, x10
    msr     elr_el1, x4
    b       9f

// Most registers of EL2 come out of reset with any value, so each is set: EL1 shall own the machine, nothing traps. The
// kernel's own way from EL2 (to_el1 in arch/aarch64/src/entry.s) sets the same ones; it begins with the MMU off.
// Whether EL2 is a host's (VHE) stays as it is: the firmware's tables are of that kind, and some CPUs know no other.
// A host's names of EL1's registers are EL2's, and EL1's own have names of another kind.
5:  mrs     x12, hcr_el2
    and     x12, x12, #1 << HCR_E2H_SHIFT
    mov     x9, #1 << 31            // HCR_EL2: EL1 runs AArch64, its pointer authentication does not trap
    movk    x9, #0x300, lsl #32
    orr     x9, x9, x12
    msr     hcr_el2, x9
    isb
    mov     x9, #3                  // EL1 may use the physical counter and timer
    mov     x11, #0x33ff            // no trap of FP; bits that are 1
    cbz     x12, 1f
    lsl     x9, x9, #10             // a host's bits stand elsewhere
    mov     x11, #3 << 20
1:  msr     cnthctl_el2, x9
    msr     cptr_el2, x11
    msr     cntvoff_el2, xzr
    mrs     x9, midr_el1
    msr     vpidr_el2, x9
    mrs     x9, mpidr_el1
    msr     vmpidr_el2, x9
    msr     hstr_el2, xzr
    msr     vttbr_el2, xzr
    mrs     x9, id_aa64dfr0_el1     // debug stays at EL1, and so do all counters of a PMU, if there is one
    sbfx    x9, x9, #8, #4
    cmp     x9, #1
    mov     x9, xzr
    b.lt    6f
    mrs     x9, pmcr_el0
    ubfx    x9, x9, #11, #5
6:  msr     mdcr_el2, x9
    mrs     x9, id_aa64mmfr0_el1    // fine-grained traps, where they exist
    ubfx    x9, x9, #56, #4
    cbz     x9, 7f
    msr     s3_4_c1_c1_4, xzr       // HFGRTR_EL2
    msr     s3_4_c1_c1_5, xzr       // HFGWTR_EL2
    msr     s3_4_c1_c1_6, xzr       // HFGITR_EL2
    msr     s3_4_c3_c1_4, xzr       // HDFGRTR_EL2
    msr     s3_4_c3_c1_5, xzr       // HDFGWTR_EL2
7:  mrs     x9, id_aa64mmfr1_el1    // more of HCR_EL2, where it exists
    ubfx    x9, x9, #40, #4
    cbz     x9, 3f
    msr     s3_4_c1_c2_2, xzr       // HCRX_EL2
3:  mrs     x9, id_aa64pfr0_el1     // GICv3 by system registers: EL1 may use them
    ubfx    x9, x9, #24, #4
    cbz     x9, 8f
    mrs     x9, s3_4_c12_c9_5       // ICC_SRE_EL2
    orr     x9, x9, #1              // SRE
    orr     x9, x9, #8              // Enable
    msr     s3_4_c12_c9_5, x9
    isb
    msr     s3_4_c12_c11_0, xzr     // ICH_HCR_EL2
8:  cbnz    x12, 1f
    msr     mair_el1, x8
    msr     tcr_el1, x6
    msr     ttbr0_el1, x1
    msr     ttbr1_el1, x2
    msr     sctlr_el1, x7
    msr     cpacr_el1, xzr
    b       2f
1:  msr     s3_5_c10_c2_0, x8       // MAIR_EL12
    msr     s3_5_c2_c0_2, x6        // TCR_EL12
    msr     s3_5_c2_c0_0, x1        // TTBR0_EL12
    msr     s3_5_c2_c0_1, x2        // TTBR1_EL12
    msr     s3_5_c1_c0_0, x7        // SCTLR_EL12
    msr     s3_5_c1_c0_2, xzr       // CPACR_EL12
2:  isb
    tlbi    alle1
    ic      iallu
    dsb     sy
    isb
    msr     sp_el0, x5
    msr     spsr_el2, x10
    msr     elr_el2, x4

9:  mov     x0, xzr
    mov     x1, xzr
    mov     x2, xzr
    mov     x3, xzr
    mov     x4, xzr
    mov     x5, xzr
    mov     x6, xzr
    mov     x7, xzr
    mov     x8, xzr
    mov     x9, xzr
    mov     x10, xzr
    mov     x11, xzr
    mov     x12, xzr
    mov     x13, xzr
    mov     x14, xzr
    mov     x15, xzr
    mov     x16, xzr
    mov     x17, xzr
    mov     x18, xzr
    mov     x19, xzr
    mov     x20, xzr
    mov     x21, xzr
    mov     x22, xzr
    mov     x23, xzr
    mov     x24, xzr
    mov     x25, xzr
    mov     x26, xzr
    mov     x27, xzr
    mov     x28, xzr
    mov     x29, xzr
    mov     x30, xzr
    eret

.if . - loader_enter > 1024
    .error "the code that enters the kernel may cross a page"
.endif
