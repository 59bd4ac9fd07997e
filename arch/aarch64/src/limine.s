// The way from a loader of the Limine protocol to where entry.s begins.
//
// The MMU and the caches are on, in the loader's tables: the image where it is linked, its memory in one piece at any
// page, and nothing that this code could rely on in the lower half. The level is EL1, on SP_EL0, or EL2 with VHE, where
// the names of EL1's registers are EL2's. Nobody would take an exception: VBAR is anything. So nothing here may fault,
// and no stack is used.
//
// What is read with the MMU off (code, constants, the templates of the tables) is read past the caches, where the
// loader may have left it: it goes to memory first. What the loader wrote elsewhere (responses, firmware's tables, a
// device tree) stays where it is; it is read later by mappings as cacheable as the loader's own, so that nobody sees
// another value than it wrote.

.set SCTLR_EL2_MMU_OFF, 0x30c50830  // the bits that are 1, without VHE and with it

.section .text.entry, "ax", %progbits
.global limine_entry
limine_entry:
    msr     daifset, #0xf
    ADDRESS x0, limine_requests
    ldr     x0, [x0, #{hhdm_response}]
    mov     x18, xzr                // no answer: Rust says so
    cbz     x0, 1f
    ldr     x18, [x0, #8]

1:  ADDRESS x20, __image_start      // where it lies in memory, the CPU knows
    mrs     x19, currentel
    tbnz    x19, #CURRENTEL_2_SHIFT, 1f
    at      s1e1r, x20
    b       2f
1:  at      s1e2r, x20
2:  isb
    dmb     sy                      // around PAR_EL1: Cortex-A77 erratum 1508412
    mrs     x21, par_el1
    dmb     sy
    and     x21, x21, #0x0000fffffffff000
    sub     x22, x21, x20           // physical minus linked address

    mov     x0, x20
    ADDRESS x1, __data_end
    FOR_EACH_LINE civac

    // A memory type that is normal and cached: the loader has one for the image. If that is not write-back in both
    // caches, the last slot becomes it.
    mrs     x4, mair_el1
    mov     x5, xzr
1:  lsl     x0, x5, #3
    lsr     x0, x4, x0
    and     x0, x0, #0xff
    cmp     x0, #0xff
    b.eq    2f
    add     x5, x5, #1
    cmp     x5, #7
    b.lo    1b
    orr     x4, x4, #0xff << 56
    msr     mair_el1, x4

    // The page of mmu_off where it lies: four tables, in the memory of the boot tables, which are made anew later.
2:  ADDRESS x3, __boot_tables_start
    add     x23, x3, x22            // the root's physical address
    mov     x0, x3
    add     x1, x3, #4 * 4096
1:  stp     xzr, xzr, [x0], #16
    cmp     x0, x1
    b.lo    1b
    mov     x4, #39
1:  lsr     x0, x21, x4
    and     x0, x0, #511
    cmp     x4, #12
    b.eq    2f
    add     x6, x3, #4096
    add     x1, x6, x22
    orr     x1, x1, #3              // a table
    str     x1, [x3, x0, lsl #3]
    mov     x3, x6
    sub     x4, x4, #9
    b       1b
2:  ldr     x1, =MAP_TEXT
    orr     x1, x1, x21
    orr     x1, x1, x5, lsl #2      // the memory type's slot
    str     x1, [x3, x0, lsl #3]

    // First the lower half is turned off and forgotten, so that its two meanings never meet.
    mrs     x4, tcr_el1
    orr     x0, x4, #1 << TCR_EPD0_SHIFT
    msr     tcr_el1, x0
    isb
    dsb     ishst
    tlbi    vmalle1
    tbz     x19, #CURRENTEL_2_SHIFT, 1f
    tlbi    alle2
1:  dsb     nsh
    isb
    msr     ttbr0_el1, x23
    mov     x0, #{tcr_low}
    bfi     x4, x0, #0, #16         // all that a TCR says of the lower half alone
    msr     tcr_el1, x4
    isb
    ADDRESS x0, mmu_off
    add     x0, x0, x22
    br      x0

.ltorg

// ---- identity-mapped, then with the MMU off -------------------------------------------------------------------------
.section .head, "ax", %progbits
mmu_off:
    ldr     x0, =SCTLR_MMU_OFF
    ldr     x1, =SCTLR_EL2_MMU_OFF
    mrs     x2, currentel
    tst     x2, #1 << CURRENTEL_2_SHIFT
    csel    x0, x0, x1, eq
    isb                             // some CPUs fetch ahead through the MMU otherwise (Qualcomm erratum 1041)
    msr     sctlr_el1, x0           // at EL2 with VHE this name is SCTLR_EL2's
    isb
    mov     x19, xzr
    mov     x17, #PROTOCOL_LIMINE
    adr     x27, at_el1
    b       to_el1

.ltorg
