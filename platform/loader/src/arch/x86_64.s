# loader_enter(rdi = transition root, rsi = kernel's root, rdx = distance to the page's other address, rcx = entry,
#              r8 = end of the stack, r9 = GDT pointer)
#
# Runs first at its own address in the firmware's tables, then in the transition's, which map this page at both of its
# addresses, then at the other one in the kernel's, which have nothing in the lower half. Needs interrupts off, tables
# whose upper halves are the same, and `entry`, stack and GDT mapped there. It does not cross a page: less than 512
# bytes that begin at a multiple of 512.
#
# What the protocol wants: no interrupts, write protection, NX, PAT as below, flat segments 0x28 and 0x30, no registers
# but rsp with anything in them, and a zero on the stack where a return address would be.

.text
.balign 512
.global loader_enter
loader_enter:
    cli
    mov     r10, rdx
    mov     r11, rcx
    mov     ecx, 0xc0000080         # EFER: long mode stays, NX before any table that uses it
    rdmsr
    or      eax, 0x900
    wrmsr
    mov     ecx, 0x277              # PAT: WB, WT, UC-, UC, WP, WC, UC, UC
    mov     eax, 0x00070406
    mov     edx, 0x00000105
    wrmsr
    mov     eax, 0x20               # CR4: PAE. No global pages, so that the next write to CR3 forgets all of them.
    mov     cr4, rax
    mov     eax, 0x80010011         # CR0: PG, WP, ET, PE
    mov     cr0, rax

    mov     cr3, rdi
    lea     rax, [rip + 2f]
    add     rax, r10
    jmp     rax
2:  mov     cr3, rsi

    mov     rsp, r8
    lgdt    [r9]
    xor     eax, eax
    lldt    ax
    mov     eax, 0x30
    mov     ss, eax
    mov     ds, eax
    mov     es, eax
    mov     fs, eax
    mov     gs, eax
    push    2                       # flags: none
    popfq
    push    0                       # the kernel has nowhere to return to
    push    0x28
    push    r11
    xor     eax, eax
    xor     ebx, ebx
    xor     ecx, ecx
    xor     edx, edx
    xor     esi, esi
    xor     edi, edi
    xor     ebp, ebp
    xor     r8d, r8d
    xor     r9d, r9d
    xor     r10d, r10d
    xor     r11d, r11d
    xor     r12d, r12d
    xor     r13d, r13d
    xor     r14d, r14d
    xor     r15d, r15d
    retfq

.if . - loader_enter > 512
    .error "the code that enters the kernel may cross a page"
.endif
