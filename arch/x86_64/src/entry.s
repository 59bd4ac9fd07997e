# The way from a PVH boot loader to Rust, and what limine.s and secondary.s share with it. See entry.rs for what holds
# where this ends.
#
# The loader enters `pvh_entry` in 32-bit protected mode with paging off, flat segments, interrupts off, no stack and
# the physical address of hvm_start_info in EBX (Xen's x86/HVM direct boot ABI, PVH). It has loaded the image where it is
# linked. Symbols are linked high, so that 32-bit code writes `symbol - VMA` for the physical address.

.set VMA, 0xffffffff80000000
.set COM1, 0x3f8

# Entry bits. Accessed and dirty are set from the start, so that the walker need not write them.
.set PRESENT, 1
.set WRITE, 2
.set ACCESSED_DIRTY, 0x60
.set GLOBAL, 0x100
.set TABLE, 0x23                    # present, writable, accessed
.set NO_EXECUTE_HIGH, 0x80000000    # bit 63, in the upper half of an entry

.set LINKED, {linked}              # the physical address; kernel.ld asserts it
.set FIXMAP_TABLES, {fixmap_tables}

# The boot tables: entry/tables.rs says which there are, and what for.
.set BOOT_TABLES, {boot_tables} - VMA
.set PML4, BOOT_TABLES + {root}
.set PDPT_HIGH, BOOT_TABLES + {high}
.set PD_IMAGE, BOOT_TABLES + {image_directory}
.set PT_IMAGE, BOOT_TABLES + {image}
.set PD_FIXMAP, BOOT_TABLES + {fixmap_directory}
.set PT_FIXMAP, BOOT_TABLES + {fixmap}
.set PDPT_DIRECT, BOOT_TABLES + {direct_pointers}
.set PD_DIRECT, BOOT_TABLES + {direct_directories}
.set PT_DIRECT, BOOT_TABLES + {direct}

# ---- where the loader looks -----------------------------------------------------------------------------------------
.section .note.pvh, "a", @note
.balign 4
    .long 4, 4, 18                  # bytes of name, bytes of descriptor, XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .long pvh_entry - VMA

# ---- stacks and spare frames ----------------------------------------------------------------------------------------
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
boot_gdt_end:
boot_gdt_low:
    .word boot_gdt_end - boot_gdt - 1
    .long boot_gdt - VMA
.balign 8
boot_gdt_high:
    .word boot_gdt_end - boot_gdt - 1
    .quad boot_gdt
no_long_mode:
    .asciz "\nkernel stopped: this CPU has no 64-bit mode or no NX bit; both are needed\n"

# ---- in 32 and in 64 bits -------------------------------------------------------------------------------------------
# Both ways into the image begin with these; the same text is assembled for either mode.

# A first character says that the kernel is there, whatever fails after it. Only a UART keeps what is written to its
# scratch register and never shows all ones as its line status; everything else is left alone. ESI: 1 if there is one.
.macro FIRST_CHARACTER put
    xorl    %esi, %esi
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
    call    \put
1:
.endm

# Leads to `too_old` on a CPU without long mode (bit 29) or NX (bit 20). Changes EAX, EBX, ECX, EDX.
.macro CHECK_CPU too_old
    movl    $0x80000000, %eax
    cpuid
    cmpl    $0x80000001, %eax
    jb      \too_old
    movl    $0x80000001, %eax
    cpuid
    andl    $0x20100000, %edx
    cmpl    $0x20100000, %edx
    jne     \too_old
.endm

# AL to COM1, after a bounded wait for room. Changes EAX, ECX, EDX.
.macro EARLY_PUT
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
.endm

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

    FIRST_CHARACTER put=early_put
    CHECK_CPU too_old=cpu_too_old

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
    movl    %edx, PT_IMAGE - (LINKED >> 9)(%edi)
    movl    $\high, PT_IMAGE - (LINKED >> 9) + 4(%edi)
    movl    %edx, PT_DIRECT - (LINKED >> 9)(%edi)
    movl    $NO_EXECUTE_HIGH, PT_DIRECT - (LINKED >> 9) + 4(%edi)
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
    movl    $0, PT_IMAGE - (LINKED >> 9)(%edi)
    movl    $0, PT_IMAGE - (LINKED >> 9) + 4(%edi)
.endr

    # Tables above. Slot 0 of the two upper levels lets this very code go on where it lies once paging is on.
.macro TABLES parent, slot, child, count
    movl    $\child + TABLE, %eax
    movl    $\parent + \slot * 8, %edi
    movl    \count, %ecx
1:  movl    %eax, (%edi)
    addl    $4096, %eax
    addl    $8, %edi
    decl    %ecx
    jnz     1b
.endm
    movl    $__image_end - VMA - 1, %edx
    shrl    $21, %edx               # tables from 2 MiB on, where the image starts, to its end
    TABLES PML4, 0, PDPT_HIGH, $1
    TABLES PML4, 273, PDPT_DIRECT, $1       # 0xffff888000000000
    TABLES PML4, 511, PDPT_HIGH, $1
    TABLES PDPT_HIGH, 0, PD_IMAGE, $1
    TABLES PDPT_HIGH, 510, PD_IMAGE, $1     # 0xffffffff80000000
    TABLES PDPT_HIGH, 511, PD_FIXMAP, $1
    TABLES PD_IMAGE, 1, PT_IMAGE, %edx
    TABLES PD_FIXMAP, 504, PT_FIXMAP, $FIXMAP_TABLES    # 0xffffffffff000000
    TABLES PDPT_DIRECT, 0, PD_DIRECT, $1
    TABLES PD_DIRECT, 1, PT_DIRECT, %edx

# With the table at `root`. The other CPUs go this way too, with the same values.
.macro ENTER_LONG_MODE root
    movl    $0x20, %eax             # CR4.PAE
    movl    %eax, %cr4
    movl    \root, %eax
    movl    %eax, %cr3
    movl    $0xc0000080, %ecx       # EFER: long mode, NX
    rdmsr
    orl     $0x900, %eax
    wrmsr
    movl    $0x80010033, %eax       # CR0: PG, WP, NE, ET, MP, PE; caches on
    movl    %eax, %cr0
.endm
    ENTER_LONG_MODE $PML4
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

early_put:
    EARLY_PUT

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
    leaq    boot_stack_top(%rip), %rsp
    # Nothing is mapped low any more.
    movq    %rax, PML4 + VMA(%rip)
    movq    %rax, PDPT_HIGH + VMA(%rip)
    movl    %ebp, %edi              # hvm_start_info

# Where both ways meet: in the boot tables, with own segments, on the boot stack, below whose top the time stamp counter
# at entry stands. RDI: what the loader handed over.
into_rust:
    # Turning global pages on drops what the TLB still knows.
    movq    %cr4, %rax
    orq     $0x80, %rax             # CR4.PGE
    movq    %rax, %cr4
    # An empty selector need not clear the base. Per-CPU variables are the templates themselves until there are areas.
    movl    $0xc0000101, %ecx       # IA32_GS_BASE
    xorl    %eax, %eax
    xorl    %edx, %edx
    wrmsr
    movq    boot_stack_top - 8(%rip), %rsi
    xorl    %ebp, %ebp              # the backtrace ends here
    call    arch_start
    ud2
