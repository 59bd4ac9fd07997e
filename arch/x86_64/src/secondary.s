# The way of every CPU but the first, from its first instruction to Rust. See cpu/start.rs for who sends it here.
#
# Such a CPU begins in real mode at the start of a page below 1 MiB. What stands there is a copy of all between
# trampoline_start and trampoline_end: the code up to 64-bit mode and its descriptors, with four numbers filled in that
# depend on where page and tables lie. They are the same for all CPUs. From there on the CPU runs in the image, at its link
# address.

.set RECORD_NEXT, 0
.set RECORD_STACK, 8
.set RECORD_PERCPU, 16
.set RECORD_CR4, 24
.set RECORD_HARDWARE_ID, 32
.set RECORD_CPU, 36

# ---- 16 bits, in the copy -------------------------------------------------------------------------------------------
.section .rodata.trampoline, "a", @progbits
.balign 8
.global trampoline_start, trampoline_end
.global trampoline_root, trampoline_to_32, trampoline_to_64, trampoline_gdt_address
.code16
trampoline_start:
    cli
    cld
    movw    %cs, %ax
    movw    %ax, %ds
    movzwl  %ax, %ebx
    shll    $4, %ebx                # where the page lies
    lgdtl   trampoline_gdt_place - trampoline_start
    movl    %cr0, %eax
    orb     $1, %al                 # PE
    movl    %eax, %cr0
    ljmpl   *(trampoline_to_32 - trampoline_start)

# ---- 32 bits, paging off, in the copy -------------------------------------------------------------------------------
.code32
trampoline_32:
    movl    $0x10, %eax
    movl    %eax, %ds
    movl    %eax, %es
    movl    %eax, %ss
    ENTER_LONG_MODE "(trampoline_root - trampoline_start)(%ebx)"
    ljmpl   *(trampoline_to_64 - trampoline_start)(%ebx)

# ---- 64 bits, in the copy, which the tables map where it lies -------------------------------------------------------
.code64
trampoline_64:
    movabsq $secondary_high, %rax
    jmpq    *%rax

# Filled in: the root table; and where the page lies is added to the other three.
.balign 4
trampoline_root:
    .long 0
trampoline_to_32:
    .long trampoline_32 - trampoline_start
    .word 0x18
.balign 4
trampoline_to_64:
    .long trampoline_64 - trampoline_start
    .word 0x08
trampoline_gdt_place:               # two bytes before a multiple of 4
    .word trampoline_gdt_end - trampoline_gdt - 1
trampoline_gdt_address:
    .long trampoline_gdt - trampoline_start
# The accessed bits are set: the CPU would write them, and the tables do not let it.
.balign 8
trampoline_gdt:
    .quad 0
    .quad 0x00af9b000000ffff        # 0x08: 64-bit code
    .quad 0x00cf93000000ffff        # 0x10: data
    .quad 0x00cf9b000000ffff        # 0x18: 32-bit code
trampoline_gdt_end:
trampoline_end:

# ---- 64 bits, in the image ------------------------------------------------------------------------------------------
.section .text.entry, "ax", @progbits
.code64
secondary_high:
    OWN_SEGMENTS
    # The kernel's tables, in which nothing is mapped low; they may lie anywhere, as the records below may.
    movq    START_ROOT(%rip), %rax
    movq    %rax, %cr3

    # The local APIC's number, as `cpu::hardware_id` finds it: EDI.
    xorl    %eax, %eax
    cpuid
    cmpl    $0xb, %eax
    jb      1f
    movl    $0xb, %eax
    xorl    %ecx, %ecx
    cpuid
    movl    %edx, %edi
    testl   %ebx, %ebx
    jnz     2f
1:  movl    $1, %eax
    cpuid
    shrl    $24, %ebx
    movl    %ebx, %edi
2:
    # The record of this CPU. One that nobody has started has none, and stays here.
    movq    START_LIST(%rip), %rsi
3:  testq   %rsi, %rsi
    jz      5f
    cmpl    %edi, RECORD_HARDWARE_ID(%rsi)
    je      4f
    movq    RECORD_NEXT(%rsi), %rsi
    jmp     3b
4:
    movq    RECORD_CR4(%rsi), %rax  # global pages go on, which drops what the TLB still knows
    movq    %rax, %cr4
    movl    $0xc0000101, %ecx       # IA32_GS_BASE
    movl    RECORD_PERCPU(%rsi), %eax
    movl    RECORD_PERCPU + 4(%rsi), %edx
    wrmsr
    movq    RECORD_STACK(%rsi), %rsp
    movl    RECORD_CPU(%rsi), %edi
    xorl    %ebp, %ebp              # the backtrace ends here
    call    arch_start_secondary
    ud2
5:  cli
    hlt
    jmp     5b
