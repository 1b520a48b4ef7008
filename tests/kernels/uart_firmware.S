/*
 * What a board's firmware does before it hands over: gives its UART an address. The UART is QEMU's `pci-serial`, an 8250 in
 * the I/O space of the board virt's PCIe bridge, which shows that space in memory. Then it goes on to QEMU's own loader.
 */
	.set CONFIG, 0x4010000000 /* the bridge's configuration space: 32 KiB a device of bus 0 */
	.set DEVICE, 2
	.set PORT, 0x1000 /* in I/O space */
	.set COMMAND, 0x04
	.set BAR0, 0x10
	.set LOADER, 0x40000000

	.globl _start
_start:
	ldr x9, =CONFIG + (DEVICE << 15)
	mov w10, #PORT
	str w10, [x9, #BAR0]
	mov w10, #1 /* answers in I/O space */
	strh w10, [x9, #COMMAND]
	ldr x9, =LOADER
	br x9
