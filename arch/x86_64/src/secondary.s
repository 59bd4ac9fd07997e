# The way of every CPU but the first, from its first instruction to Rust. See cpu/start.rs for who sends it here.
#
# Such a CPU begins in real mode at the start of a page below 1 MiB. What stands there is a copy of the few instructions
# between trampoline_start and trampoline_end, the same for all of them: they hold no address that must be patched. From
# there on the CPU runs in the image, first at its physical address, then at its link address.

.set RECORD_NEXT, 0
.set RECORD_STACK, 8
.set RECORD_PERCPU, 16
.set RECORD_CR4, 24
.set RECORD_HARDWARE_ID, 32
.set RECORD_CPU, 36

# ---- 16 bits, in the copy -------------------------------------------------------------------------------------------
.section .rodata.trampoline, "a", @progbits
.code16
.global trampoline_start, trampoline_end
trampoline_start:
    cli
    cld
    movw    %cs, %ax
    movw    %ax, %ds
    lgdtl   trampoline_gdt - trampoline_start
    movl    %cr0, %eax
    orb     $1, %al                 # PE
    movl    %eax, %cr0
    ljmpl   $0x18, $secondary_protected - VMA
.balign 4
trampoline_gdt:
    .word boot_gdt_end - boot_gdt - 1
    .long boot_gdt - VMA
trampoline_end:

# ---- 32 bits, paging off, in the image ------------------------------------------------------------------------------
.section .text.entry, "ax", @progbits
.code32
secondary_protected:
    movl    $0x10, %eax
    movl    %eax, %ds
    movl    %eax, %es
    movl    %eax, %ss
    ENTER_LONG_MODE secondary_pml4
    ljmp    $8, $secondary_long - VMA

# ---- 64 bits --------------------------------------------------------------------------------------------------------
.code64
secondary_long:
    movabsq $secondary_high, %rax
    jmpq    *%rax
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
