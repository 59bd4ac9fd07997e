// The way from the boot loader to Rust. See entry.rs for what holds where this ends.
//
// A loader of Linux Images enters at the image's first byte with the MMU off, interrupts masked, and the physical
// address of the device tree in x0. A loader of the Limine protocol enters at limine_entry, with its own tables, in
// which the image lies where it is linked: that code goes back to where the other one begins. The image is linked high
// and lies at any page; the two differ by a multiple of a page, so that `adrp` gives physical addresses while the MMU
// is off.
//
// The other CPUs come later, by `secondary_start` and `secondary_start_listed`: see cpu/start.rs. They share what is
// below but for the tables, which exist by then.
//
// With the MMU off all memory behaves as Device memory: unaligned accesses fault and nothing is cached. So no Rust
// runs here, and what is written (the tables only) must not be hidden by lines that a loader left in the caches.

.set LINK_BASE, 0xffffffff80000000

// Entry bits: valid page, accessed, inner shareable, memory type 0 (see MAIR).
.set PAGE, 0x703
.set READ_ONLY, 1 << 7
.set PXN, 1 << 53
.set UXN, 1 << 54
.set MAP_TEXT, PAGE | READ_ONLY | UXN
.set MAP_RODATA, PAGE | READ_ONLY | UXN | PXN
.set MAP_DATA, PAGE | UXN | PXN
.set MAP_NOTHING, 0                 // the tables are made, the entries stay absent

.set SCTLR_MMU_OFF, 0x30d00800      // the bits that are 1 on every ARMv8.0
.set SCTLR_MMU_ON, SCTLR_MMU_OFF | 1 << 12 | 1 << 3 | 1 << 2 | 1    // I, SA, C, M
.set TCR_EPD0_SHIFT, 7
.set TCR_EPD1_SHIFT, 23
.set CURRENTEL_2_SHIFT, 3           // the bit of CurrentEL that tells EL2 from EL1
.set HCR_RW, 1 << 31
.set HCR_E2H_SHIFT, 34

.set PROTOCOL_IMAGE, {protocol_image}
.set PROTOCOL_LIMINE, {protocol_limine}

.set AFFINITY, 0xff00ffffff         // MPIDR: the bits that name a CPU

// StartRecord (cpu/record.rs): what a CPU that is started needs to know.
.set RECORD_ROOT, 0                 // and tcr
.set RECORD_SCTLR, 16               // and stack
.set RECORD_PERCPU, 32              // and cpu
.set RECORD_HARDWARE_ID, 48
.set RECORD_NEXT, 56

// ---- stacks and spare frames ---------------------------------------------------------------------------------------
// Below each stack lies a page that stays unmapped: who runs out of stack traps.
.section .noinit.stacks, "aw", %nobits
.balign 4096
.macro STACK name, bytes
.global __\name\()_guard, __\name\()_bottom, __\name\()_top
__\name\()_guard:     .skip 4096
__\name\()_bottom:    .skip \bytes
__\name\()_top:
.endm
STACK boot_stack, 131072
STACK overflow_stack, {trap_stack_bytes}

.section .noinit.early_frames, "aw", %nobits
.balign 4096
.global __early_frames_start, __early_frames_end
__early_frames_start: .skip 4096 * 64
__early_frames_end:

// ---- what the boot tables map --------------------------------------------------------------------------------------
.section .rodata.entry, "a", %progbits
.balign 8
boot_map:           // from, to, how at that address, how at the direct map's address
    .quad __text_start, __text_end, MAP_TEXT, MAP_RODATA
    .quad __rodata_start, __rodata_end, MAP_RODATA, MAP_RODATA
    .quad __data_start, __boot_stack_guard, MAP_DATA, MAP_DATA
    .quad __boot_stack_guard, __boot_stack_bottom, MAP_NOTHING, MAP_DATA
    .quad __boot_stack_bottom, __overflow_stack_guard, MAP_DATA, MAP_DATA
    .quad __overflow_stack_guard, __overflow_stack_bottom, MAP_NOTHING, MAP_DATA
    .quad __overflow_stack_bottom, __image_end, MAP_DATA, MAP_DATA
    .quad {fixmap_start}, {fixmap_end}, MAP_NOTHING, MAP_NOTHING
boot_map_end:

// ---- the image header ----------------------------------------------------------------------------------------------
.section .head, "ax", %progbits
.global switch_root_identity
    b       entry
    .long   0
    .quad   0                       // text_offset: the image wants the very start of a 2 MiB block
    .quad   __image_size            // .bss, stacks and tables included: nothing else may lie there
    .quad   0xa                     // little endian, 4 KiB pages, anywhere in memory
    .quad   0, 0, 0
    .ascii  "ARM\x64"
    .long   0

// Does `dc \op` for each cache line of x0..x1. Changes x0, x2, x3.
.macro FOR_EACH_LINE op
    mrs     x2, ctr_el0
    ubfx    x2, x2, #16, #4         // log2 of the words in the smallest data cache line
    mov     x3, #4
    lsl     x2, x3, x2
    sub     x3, x2, #1
    bic     x0, x0, x3
1:  dc      \op, x0
    add     x0, x0, x2
    cmp     x0, x1
    b.lo    1b
    dsb     sy
.endm

// x\reg = where a symbol is: its physical address while the MMU is off, then the linked one.
.macro ADDRESS reg, symbol
    adrp    \reg, \symbol
    add     \reg, \reg, :lo12:\symbol
.endm

entry:
    msr     daifset, #0xf
    mov     x19, x0                 // what the loader handed over
    mov     x17, #PROTOCOL_IMAGE
    mov     x18, xzr                // no direct map of the loader's
    adr     x27, at_el1

// ---- whatever level to EL1, where it goes on at x27 -----------------------------------------------------------------
// Leaves the level of entry in x28. Changes x0, x1, x3, x4.
//
// Most registers of EL2 come out of reset with any value, so each is set: EL1 shall own the machine, nothing traps.
to_el1:
    mrs     x0, currentel
    ubfx    x28, x0, #2, #2
    cmp     x28, #2
    b.eq    at_el2
    b.hi    0f
    br      x27
0:  wfe                             // EL3: nobody who follows a protocol comes here
    b       0b
at_el2:
    mov     x0, #HCR_RW             // EL1 runs AArch64. No second stage, no VHE.
    msr     hcr_el2, x0
    isb
    mov     x0, #3                  // EL1 may use the physical counter and timer
    mov     x3, #0x33ff             // no trap of FP; bits that are 1
    mrs     x4, hcr_el2
    tbz     x4, #HCR_E2H_SHIFT, 1f
    lsl     x0, x0, #10             // a CPU that knows EL2 with VHE only: the same bits stand elsewhere
    mov     x3, #3 << 20
1:  msr     cnthctl_el2, x0
    msr     cptr_el2, x3
    msr     cntvoff_el2, xzr        // the virtual counter is the physical one
    mrs     x0, midr_el1
    msr     vpidr_el2, x0
    mrs     x0, mpidr_el1
    msr     vmpidr_el2, x0
    msr     hstr_el2, xzr
    msr     vttbr_el2, xzr
    mrs     x0, id_aa64dfr0_el1     // debug stays at EL1, and so do all counters of a PMU, if there is one
    sbfx    x0, x0, #8, #4
    cmp     x0, #1
    mov     x0, xzr
    b.lt    1f
    mrs     x0, pmcr_el0
    ubfx    x0, x0, #11, #5
1:  msr     mdcr_el2, x0
    mrs     x0, id_aa64mmfr0_el1    // fine-grained traps, where they exist
    ubfx    x0, x0, #56, #4
    cbz     x0, 1f
    msr     s3_4_c1_c1_4, xzr       // HFGRTR_EL2
    msr     s3_4_c1_c1_5, xzr       // HFGWTR_EL2
    msr     s3_4_c1_c1_6, xzr       // HFGITR_EL2
    msr     s3_4_c3_c1_4, xzr       // HDFGRTR_EL2
    msr     s3_4_c3_c1_5, xzr       // HDFGWTR_EL2
1:  mrs     x0, id_aa64mmfr1_el1    // more of HCR_EL2, where it exists
    ubfx    x0, x0, #40, #4
    cbz     x0, 1f
    msr     s3_4_c1_c2_2, xzr       // HCRX_EL2
1:  mrs     x0, id_aa64pfr0_el1     // GICv3 by system registers: EL1 may use them
    ubfx    x0, x0, #24, #4
    cbz     x0, 1f
    mrs     x0, s3_4_c12_c9_5       // ICC_SRE_EL2
    mov     x1, #9                  // SRE, Enable
    orr     x0, x0, x1
    msr     s3_4_c12_c9_5, x0
    isb
    msr     s3_4_c12_c11_0, xzr     // ICH_HCR_EL2
1:  ldr     x0, =SCTLR_MMU_OFF
    tbnz    x4, #HCR_E2H_SHIFT, 1f
    msr     sctlr_el1, x0
    b       2f
1:  msr     s3_5_c1_c0_0, x0        // SCTLR_EL12: with VHE the other name is SCTLR_EL2's
2:  mov     x0, #0x3c5              // EL1 with its own stack pointer, everything masked
    msr     spsr_el2, x0
    msr     elr_el2, x27
    eret

// ---- EL1, MMU off --------------------------------------------------------------------------------------------------
at_el1:
    msr     spsel, #1
    mrs     x29, cntvct_el0         // when this kernel began
    // Whatever a loader left dirty in the caches goes to memory now; later it would overwrite what is written here.
    ADDRESS x20, __image_start
    ADDRESS x1, __data_end
    mov     x0, x20
    FOR_EACH_LINE civac
    ADDRESS x25, __boot_tables_start
    ADDRESS x1, __boot_tables_end
    mov     x0, x25
    FOR_EACH_LINE civac
    ldr     x0, =SCTLR_MMU_OFF      // off it is, says the protocol; EL1's other bits may be anything
    msr     sctlr_el1, x0
    isb
    msr     cpacr_el1, xzr          // the kernel is built without FP; using it is an error that traps
    msr     mdscr_el1, xzr

    ADDRESS x1, __boot_tables_end
    mov     x0, x25
1:  stp     xzr, xzr, [x0], #16
    cmp     x0, x1
    b.lo    1b

    mov     x23, x25                // root of the lower half: this page alone, where it lies
    add     x24, x23, #4096         // root of the kernel's half
    add     x5, x24, #4096          // tables that are still free

    mov     x0, x23
    mov     x1, x20
    mov     x2, x20
    add     x3, x20, #4096
    ldr     x4, =MAP_TEXT
    bl      map_pages

    ldr     x21, =LINK_BASE
    sub     x21, x20, x21           // physical minus linked address
    ADDRESS x26, boot_map
    ADDRESS x27, boot_map_end
    mov     x0, x24
2:  ldp     x1, x3, [x26]
    ldr     x4, [x26, #16]
    add     x2, x1, x21
    bl      map_pages
    ldp     x1, x3, [x26], #24
    ldr     x4, [x26], #8
    cbz     x4, 3f
    add     x2, x1, x21
    add     x3, x3, x21
    ldr     x10, ={direct_start}
    add     x1, x2, x10
    add     x3, x3, x10
    bl      map_pages
3:  cmp     x26, x27
    b.lo    2b

    // Lines of the tables that were fetched meanwhile hold what was there before.
    ADDRESS x1, __boot_tables_end
    mov     x0, x25
    FOR_EACH_LINE ivac

    ldr     x22, ={tcr}
    mrs     x0, id_aa64mmfr0_el1    // physical address size; more than 48 bits takes another table format
    and     x0, x0, #0xf
    mov     x1, #5
    cmp     x0, x1
    csel    x0, x0, x1, lo
    bfi     x22, x0, #32, #3
    ldr     x0, =SCTLR_MMU_ON
    ldr     x1, =high_half

// Turns the MMU on, with x0 for SCTLR and x22 for TCR, the lower half's root x23 and the kernel's x24, and goes on at
// the linked address x1. Changes x2.
mmu_on:
    ldr     x2, ={mair}
    msr     mair_el1, x2
    msr     tcr_el1, x22
    msr     ttbr0_el1, x23
    msr     ttbr1_el1, x24
    isb
    tlbi    vmalle1
    ic      iallu
    dsb     sy
    isb
    msr     sctlr_el1, x0
    isb
    br      x1

// ---- another CPU, MMU off -------------------------------------------------------------------------------------------
.global secondary_start, secondary_start_listed

// A CPU that knows nothing but its own number: it waits until its record is in the list. Where several wait at one
// release address, all of them come with the first.
secondary_start_listed:
    msr     daifset, #0xf
    mrs     x1, mpidr_el1
    ldr     x0, =AFFINITY
    and     x1, x1, x0
    ADDRESS x2, {start_list}
1:  ldr     x19, [x2]
2:  cbz     x19, 3f
    ldr     x0, [x19, #RECORD_HARDWARE_ID]
    cmp     x0, x1
    b.eq    4f
    ldr     x19, [x19, #RECORD_NEXT]
    b       2b
3:  wfe                             // whoever adds a record tells everybody
    b       1b

// A CPU that is handed the physical address of its record in x0, as PSCI does.
secondary_start:
    msr     daifset, #0xf
    mov     x19, x0
4:  adr     x27, secondary_at_el1
    b       to_el1

secondary_at_el1:
    msr     spsel, #1
    ldr     x0, =SCTLR_MMU_OFF
    msr     sctlr_el1, x0
    isb
    msr     cpacr_el1, xzr
    msr     mdscr_el1, xzr
    ldp     x24, x22, [x19, #RECORD_ROOT]
    ldp     x0, x26, [x19, #RECORD_SCTLR]
    ldp     x20, x21, [x19, #RECORD_PERCPU]
    bic     x22, x22, #1 << TCR_EPD0_SHIFT      // the boot CPU has no lower half any more
    adrp    x23, __boot_tables_start
    ldr     x1, =secondary_high_half
    b       mmu_on

// Maps x1..x3 to the memory from x2 on, by pages with entry bits x4 (0: only makes the tables), in the tree of root x0.
// Tables that are missing are taken from x5 on. Changes x1, x2, x6 to x9.
map_pages:
1:  cmp     x1, x3
    b.hs    5f
    mov     x6, x0
    mov     x7, #39
2:  lsr     x8, x1, x7
    and     x8, x8, #511
    add     x6, x6, x8, lsl #3      // the entry's place
    cmp     x7, #12
    b.eq    4f
    ldr     x9, [x6]
    cbnz    x9, 3f
    orr     x9, x5, #3              // a table
    str     x9, [x6]
    add     x5, x5, #4096
3:  and     x6, x9, #0x0000fffffffff000
    sub     x7, x7, #9
    b       2b
4:  cbz     x4, 4f
    orr     x8, x2, x4
    str     x8, [x6]
4:  add     x1, x1, #4096
    add     x2, x2, #4096
    b       1b
5:  ret

// The part of switch_root that no table of the kernel's half may translate: from here to the branch nothing of it does.
switch_root_identity:
    orr     x5, x4, #1 << TCR_EPD1_SHIFT
    msr     tcr_el1, x5
    isb
    tlbi    vmalle1
    dsb     nsh
    isb
    msr     ttbr1_el1, x0
    mrs     x5, sctlr_el1
    orr     x5, x5, #1 << 19        // WXN: what is writable is not executed, whatever an entry says
    msr     sctlr_el1, x5
    msr     tcr_el1, x4
    isb
    br      x6

.ltorg

// ---- EL1, where it is linked ---------------------------------------------------------------------------------------
.section .text.entry, "ax", %progbits
// The vectors stand, and the lower half is empty from now on. x22: TCR. Changes x0.
.macro SETTLE
    adr     x0, trap_vectors
    msr     vbar_el1, x0
    orr     x22, x22, #1 << TCR_EPD0_SHIFT
    msr     tcr_el1, x22
    msr     ttbr0_el1, xzr
    isb
    tlbi    vmalle1
    dsb     nsh
    isb
.endm

secondary_high_half:
    msr     tpidr_el1, x20
    SETTLE
    mov     sp, x26
    mov     x0, x21
    mov     x29, xzr                // the backtrace ends here
    mov     x30, xzr
    b       arch_start_secondary

high_half:
    msr     tpidr_el1, xzr          // the boot CPU uses the templates themselves until there are areas
    SETTLE
    adrp    x0, __boot_stack_top
    add     sp, x0, :lo12:__boot_stack_top
    ADDRESS x0, __bss_start
    ADDRESS x1, __bss_cleared_end
1:  stp     xzr, xzr, [x0], #16
    cmp     x0, x1
    b.lo    1b

    mov     x0, x19
    mov     x1, x20                 // where the image lies
    mov     x2, x28                 // the level of entry
    mov     x3, x29                 // the virtual counter at entry
    mov     x4, x17                 // by which protocol
    mov     x5, x18                 // the offset of Limine's direct map
    mov     x29, xzr                // the backtrace ends here
    mov     x30, xzr
    b       arch_start

// Puts another root, x0, in place of the kernel's. The two trees may map the same memory by leaves of different sizes,
// and the TLB must never hold both, so there is a moment in which it holds nothing and may walk neither: the code for
// it runs identity-mapped, by the table of the lower half that the entry code used, x1, at the physical address x2.
.global switch_root
switch_root:
    mrs     x7, daif
    msr     daifset, #0xf
    mrs     x3, tcr_el1
    bic     x4, x3, #1 << TCR_EPD0_SHIFT
    msr     ttbr0_el1, x1
    msr     tcr_el1, x4
    isb
    adr     x6, 1f
    br      x2
1:  msr     tcr_el1, x3
    msr     ttbr0_el1, xzr
    isb
    tlbi    vmalle1
    dsb     nsh
    isb
    msr     daif, x7
    ret
