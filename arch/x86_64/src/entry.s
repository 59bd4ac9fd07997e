# The way from the boot loader to Rust. See entry.rs for what holds where this ends.
#
# The loader enters `pvh_entry` in 32-bit protected mode with paging off, flat segments, interrupts off, no stack and
# the physical address of hvm_start_info in EBX (Xen's x86/HVM direct boot ABI, PVH). Symbols are linked high, so that
# 32-bit code writes `symbol - VMA` for the physical address.

.set VMA, 0xffffffff80000000
.set COM1, 0x3f8

# Entry bits. Accessed and dirty are set from the start, so that the walker need not write them.
.set PRESENT, 1
.set WRITE, 2
.set ACCESSED_DIRTY, 0x60
.set GLOBAL, 0x100
.set TABLE, 0x23                    # present, writable, accessed
.set NO_EXECUTE_HIGH, 0x80000000    # bit 63, in the upper half of an entry

.set BOOT_IMAGE_TABLES, 8           # 8 x 2 MiB from VMA on; kernel.ld asserts that the image fits
.set FIXMAP_TABLES, 2               # layout.rs: FIXMAP_START to FIXMAP_END

# ---- where the loader looks -----------------------------------------------------------------------------------------
.section .note.pvh, "a", @note
.balign 4
    .long 4, 4, 18                  # bytes of name, bytes of descriptor, XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .long pvh_entry - VMA

# ---- page tables and stacks -----------------------------------------------------------------------------------------
.section .bss.boot_tables, "aw", @nobits
.balign 4096
.global boot_pml4
boot_pml4:          .skip 4096
boot_pdpt_high:     .skip 4096      # the top 512 GiB: image and fixmap
boot_pd_image:      .skip 4096
boot_pt_image:      .skip 4096 * BOOT_IMAGE_TABLES
boot_pd_fixmap:     .skip 4096
.global boot_pt_fixmap
boot_pt_fixmap:     .skip 4096 * FIXMAP_TABLES
boot_pdpt_direct:   .skip 4096      # the direct map, with the image's memory in it
boot_pd_direct:     .skip 4096
boot_pt_direct:     .skip 4096 * BOOT_IMAGE_TABLES
# The root with which every other CPU begins: the image at its link address and at its physical one, with its sections'
# own rights, and nothing else. The kernel's own root may lie above 4 GiB, where no CPU can begin.
.global secondary_pml4
secondary_pml4:     .skip 4096
secondary_pdpt:     .skip 4096

# Below each stack lies a page that the boot tables leave unmapped: who runs out of stack traps.
.section .noinit.stacks, "aw", @nobits
.balign 4096
.macro STACK name, bytes
.global \name\()_unmapped, \name\()_bottom, \name\()_top
\name\()_unmapped:     .skip 4096
\name\()_bottom:    .skip \bytes
\name\()_top:
.endm
STACK boot_stack, 131072
STACK double_fault_stack, 16384
STACK nmi_stack, 16384
STACK machine_check_stack, 16384

.section .noinit.early_frames, "aw", @nobits
.balign 4096
.global early_frames_start, early_frames_end
early_frames_start: .skip 4096 * 64
early_frames_end:

# ---- constants ------------------------------------------------------------------------------------------------------
.section .rodata.entry, "a", @progbits
.balign 8
# The accessed bits are set here too: the CPU would write them, and this page is read-only.
boot_gdt:
    .quad 0
    .quad 0x00af9b000000ffff        # 0x08: 64-bit code
    .quad 0x00cf93000000ffff        # 0x10: data
    .quad 0x00cf9b000000ffff        # 0x18: 32-bit code, on the way of the other CPUs
boot_gdt_end:
boot_gdt_low:
    .word boot_gdt_end - boot_gdt - 1
    .long boot_gdt - VMA
.balign 8
boot_gdt_high:
    .word boot_gdt_end - boot_gdt - 1
    .quad boot_gdt
no_long_mode:
    .asciz "\nThis CPU has no 64-bit mode or no NX bit; both are needed. Stopped.\n"

# ---- 32 bits, paging off --------------------------------------------------------------------------------------------
.section .text.entry, "ax", @progbits
.code32
.global pvh_entry
pvh_entry:
    cli
    cld
    movl    $boot_stack_top - VMA, %esp
    rdtsc                           # where time begins; .noinit survives the clearing below
    pushl   %edx
    pushl   %eax
    movl    %ebx, %ebp              # cpuid takes EBX

    # A first character says that the kernel is there, whatever fails after it. Only a UART keeps what is written to
    # its scratch register and never shows all ones as its line status; everything else is left alone.
    xorl    %esi, %esi              # 1: there is a UART
    movw    $COM1 + 7, %dx
    movb    $0x5a, %al
    outb    %al, %dx
    movw    $COM1 + 5, %dx
    inb     %dx, %al
    cmpb    $0xff, %al
    je      1f
    movw    $COM1 + 7, %dx
    inb     %dx, %al
    cmpb    $0x5a, %al
    jne     1f
    incl    %esi
    movb    $'T', %al
    call    early_put
1:
    # Long mode (bit 29) and NX (bit 20).
    movl    $0x80000000, %eax
    cpuid
    cmpl    $0x80000001, %eax
    jb      cpu_too_old
    movl    $0x80000001, %eax
    cpuid
    andl    $0x20100000, %edx
    cmpl    $0x20100000, %edx
    jne     cpu_too_old

    # .bss, with the page tables in it.
    movl    $__bss_start - VMA, %edi
    movl    $__bss_cleared_end - VMA, %ecx
    subl    %edi, %ecx
    shrl    $2, %ecx
    xorl    %eax, %eax
    rep stosl

    # The image, page by page, each section with its own rights from the start; and the same memory in the direct map,
    # where nothing may be executed.
.macro MAP first, end, low, high
    movl    $\first - VMA, %eax
    movl    $\end - VMA, %ecx
1:  movl    %eax, %edi
    shrl    $9, %edi                # frame number x 8: the entry's place
    leal    \low(%eax), %edx
    movl    %edx, boot_pt_image - VMA(%edi)
    movl    $\high, boot_pt_image - VMA + 4(%edi)
    movl    %edx, boot_pt_direct - VMA(%edi)
    movl    $NO_EXECUTE_HIGH, boot_pt_direct - VMA + 4(%edi)
    addl    $4096, %eax
    cmpl    %ecx, %eax
    jb      1b
.endm
    MAP __text_start, __text_end, PRESENT + ACCESSED_DIRTY + GLOBAL, 0
    MAP __rodata_start, __rodata_end, PRESENT + ACCESSED_DIRTY + GLOBAL, NO_EXECUTE_HIGH
    MAP __data_start, __bss_end, PRESENT + WRITE + ACCESSED_DIRTY + GLOBAL, NO_EXECUTE_HIGH
.irp name, boot_stack, double_fault_stack, nmi_stack, machine_check_stack
    movl    $\name\()_unmapped - VMA, %edi
    shrl    $9, %edi
    movl    $0, boot_pt_image - VMA(%edi)
    movl    $0, boot_pt_image - VMA + 4(%edi)
.endr

    # Tables above. Slot 0 of the two upper levels lets this very code go on where it lies once paging is on.
.macro TABLES parent, slot, child, count
    movl    $\child - VMA + TABLE, %eax
    movl    $\parent - VMA + \slot * 8, %edi
    movl    \count, %ecx
1:  movl    %eax, (%edi)
    addl    $4096, %eax
    addl    $8, %edi
    decl    %ecx
    jnz     1b
.endm
    movl    $__image_end - VMA - 1, %edx
    shrl    $21, %edx               # tables from 2 MiB on, where the image starts, to its end
    TABLES boot_pml4, 0, boot_pdpt_high, $1
    TABLES boot_pml4, 273, boot_pdpt_direct, $1     # 0xffff888000000000
    TABLES boot_pml4, 511, boot_pdpt_high, $1
    TABLES boot_pdpt_high, 0, boot_pd_image, $1
    TABLES boot_pdpt_high, 510, boot_pd_image, $1   # 0xffffffff80000000
    TABLES boot_pdpt_high, 511, boot_pd_fixmap, $1
    TABLES boot_pd_image, 1, boot_pt_image + 4096, %edx
    TABLES boot_pd_fixmap, 504, boot_pt_fixmap, $FIXMAP_TABLES  # 0xffffffffff000000
    TABLES boot_pdpt_direct, 0, boot_pd_direct, $1
    TABLES boot_pd_direct, 1, boot_pt_direct + 4096, %edx
    TABLES secondary_pml4, 0, secondary_pdpt, $1
    TABLES secondary_pml4, 511, secondary_pdpt, $1
    TABLES secondary_pdpt, 0, boot_pd_image, $1
    TABLES secondary_pdpt, 510, boot_pd_image, $1

    # The other CPUs go this way too, with the same values.
.macro ENTER_LONG_MODE root
    movl    $0x20, %eax             # CR4.PAE
    movl    %eax, %cr4
    movl    $\root - VMA, %eax
    movl    %eax, %cr3
    movl    $0xc0000080, %ecx       # EFER: long mode, NX
    rdmsr
    orl     $0x900, %eax
    wrmsr
    movl    $0x80010033, %eax       # CR0: PG, WP, NE, ET, MP, PE; caches on
    movl    %eax, %cr0
.endm
    ENTER_LONG_MODE boot_pml4
    lgdt    boot_gdt_low - VMA
    ljmp    $8, $long_mode - VMA

cpu_too_old:
    testl   %esi, %esi
    jz      3f
    movl    $no_long_mode - VMA, %esi
2:  lodsb
    testb   %al, %al
    jz      3f
    call    early_put
    jmp     2b
3:  hlt
    jmp     3b

# AL to COM1, after a bounded wait for room. Changes EAX, ECX, EDX.
early_put:
    movb    %al, %ah
    movl    $0x10000, %ecx
    movw    $COM1 + 5, %dx
1:  inb     %dx, %al
    testb   $0x20, %al
    jnz     2f
    decl    %ecx
    jnz     1b
2:  movb    %ah, %al
    movw    $COM1, %dx
    outb    %al, %dx
    ret

# ---- 64 bits --------------------------------------------------------------------------------------------------------
.code64
long_mode:
    movabsq $high_half, %rax
    jmpq    *%rax
high_half:
.macro OWN_SEGMENTS
    lgdt    boot_gdt_high(%rip)
    movl    $0x10, %eax
    movl    %eax, %ds
    movl    %eax, %es
    movl    %eax, %ss
    xorl    %eax, %eax
    movl    %eax, %fs
    movl    %eax, %gs
.endm
    OWN_SEGMENTS
    # An empty selector need not clear the base. Per-CPU variables are the templates themselves until there are areas.
    movl    $0xc0000101, %ecx       # IA32_GS_BASE
    xorl    %edx, %edx
    wrmsr
    leaq    boot_stack_top(%rip), %rsp

    # Nothing is mapped low any more. Turning global pages on drops what the TLB still knows.
    movq    %rax, boot_pml4(%rip)
    movq    %rax, boot_pdpt_high(%rip)
    movq    %cr4, %rax
    orq     $0x80, %rax             # CR4.PGE
    movq    %rax, %cr4

    movl    %ebp, %edi              # hvm_start_info
    movq    boot_stack_top - 8(%rip), %rsi  # the time stamp counter at entry
    xorl    %ebp, %ebp              # the backtrace ends here
    call    arch_start
    ud2
