# The way from a boot loader that follows Limine's protocol to where the PVH way ends. See entry.rs for what holds there.
#
# The loader enters `limine_entry` in 64-bit mode with interrupts off, in page tables of its own that map the image where
# it is linked, each segment with its rights, and its answers in the higher half. Of what else it leaves (descriptor
# tables, stack, registers) nothing is used. The image lies anywhere in physical memory.

# ---- in the loader's tables -----------------------------------------------------------------------------------------
.section .text.entry, "ax", @progbits
.code64
.global limine_entry
limine_entry:
    cli
    cld
    leaq    boot_stack_top(%rip), %rsp
    rdtsc                           # where time begins; .noinit survives the clearing below
    shlq    $32, %rdx
    orq     %rdx, %rax
    pushq   %rax
    pushq   $2                      # the flags that the CPU comes out of reset with
    popfq
    FIRST_CHARACTER put=limine_put
    CHECK_CPU too_old=limine_cpu_too_old

    # .bss, with the page tables in it. The requests are in .data.
    leaq    __bss_start(%rip), %rdi
    leaq    __bss_cleared_end(%rip), %rcx
    subq    %rdi, %rcx
    shrq    $3, %rcx
    xorl    %eax, %eax
    rep stosq

    subq    $8, %rsp                # calls are made with a stack at a multiple of 16
    movl    %esi, %ebx              # whether there is a UART; a call keeps EBX
    xorl    %ebp, %ebp
    call    limine_prepare          # RAX: the root of our tables, RDX: what is handed over; RAX 0: why not, in RDX
    movl    %ebx, %esi
    testq   %rax, %rax
    jz      limine_stop
    movq    %rdx, %rdi

    # Out of the loader's tables, with the control registers that the PVH way sets. EFER first, since ours have NX bits;
    # CR4 before CR3, since without global pages the TLB forgets all of the loader's.
    movq    %rax, %rsi
    movl    $0xc0000080, %ecx       # EFER
    rdmsr
    andl    $0x500, %eax            # long mode stays on
    orl     $0x900, %eax            # with NX
    xorl    %edx, %edx
    wrmsr
    movl    $0x80010033, %eax       # CR0: PG, WP, NE, ET, MP, PE; caches on
    movq    %rax, %cr0
    movl    $0x20, %eax             # CR4.PAE
    movq    %rax, %cr4
    movq    %rsi, %cr3

    OWN_SEGMENTS
    lldt    %ax
    pushq   $8
    leaq    1f(%rip), %rax
    pushq   %rax
    lretq
1:  leaq    boot_stack_top(%rip), %rsp
    jmp     into_rust

limine_cpu_too_old:
    leaq    no_long_mode(%rip), %rdx
# With the text at RDX, on COM1 if ESI says that it is there.
limine_stop:
    testl   %esi, %esi
    jz      3f
    movq    %rdx, %rsi
2:  lodsb
    testb   %al, %al
    jz      3f
    call    limine_put
    jmp     2b
3:  hlt
    jmp     3b

limine_put:
    EARLY_PUT
