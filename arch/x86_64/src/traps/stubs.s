# Where the CPU goes on an exception or interrupt, and the accesses that survive one. See mod.rs.

.section .text.traps, "ax", @progbits
.code64

# 256 entry points, 16 bytes apart. Each leaves the stack the same: where the CPU pushes no error code, a zero stands
# for it; then the vector.
.balign 16
.global trap_stubs
trap_stubs:
.set vector, 0
.rept 256
    .balign 16, 0xcc
    .if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30)
    pushq   $0
    .endif
    pushq   $vector
    jmp     trap_common
    .set vector, vector + 1
.endr

# The CPU aligned the stack to 16 before it pushed 5 words; with these 21 more it is aligned again.
.balign 16
trap_common:
    cld
    pushq   %rax
    pushq   %rbx
    pushq   %rcx
    pushq   %rdx
    pushq   %rsi
    pushq   %rdi
    pushq   %rbp
    pushq   %r8
    pushq   %r9
    pushq   %r10
    pushq   %r11
    pushq   %r12
    pushq   %r13
    pushq   %r14
    pushq   %r15
    movq    %cr4, %rax
    pushq   %rax
    movq    %cr3, %rax
    pushq   %rax
    movq    %cr2, %rax
    pushq   %rax
    movq    %cr0, %rax
    pushq   %rax
    movq    %rsp, %rdi
    call    trap_taken              # returns when the frame is to go on, perhaps elsewhere
    addq    $32, %rsp
    popq    %r15
    popq    %r14
    popq    %r13
    popq    %r12
    popq    %r11
    popq    %r10
    popq    %r9
    popq    %r8
    popq    %rbp
    popq    %rdi
    popq    %rsi
    popq    %rdx
    popq    %rcx
    popq    %rbx
    popq    %rax
    addq    $16, %rsp
    iretq

# ---- accesses that survive ------------------------------------------------------------------------------------------
# They return their result in RAX, and 0 in RDX. A fault between probe_begin and probe_end goes on at probe_failed, with
# the error code in RAX and 1 in RDX. None of them uses the stack, so that only the instruction pointer must change.
.balign 16
.global probe_begin, probe_end, probe_failed, probe_load_byte, probe_store_byte
probe_begin:
probe_load_byte:                    # RDI address
    movzbl  (%rdi), %eax
    xorl    %edx, %edx
    ret
probe_store_byte:                   # RDI address, SIL byte
    movb    %sil, (%rdi)
    xorl    %eax, %eax
    xorl    %edx, %edx
    ret
probe_end:
probe_failed:
    ret

# A jump that fails has pushed its return address, by which it is known. A target that is no address at all faults in
# the call itself, before anything is pushed.
.global probe_execute, probe_execute_call, probe_execute_return, probe_execute_failed
probe_execute:                      # RDI where to
    pushq   %rbp
    movq    %rsp, %rbp
probe_execute_call:
    callq   *%rdi
probe_execute_return:
    xorl    %eax, %eax
    xorl    %edx, %edx
probe_execute_failed:
    popq    %rbp
    ret
