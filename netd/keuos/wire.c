/* The NIC of wire.h. */
#include "wire.h"

#include <user.h>

enum { BUDGET = 64 };

static bool failed(const char *what, int64_t error)
{
	if (error < 0)
		user_log("%s: %s", what, user_error(error));
	return error < 0;
}

bool wire_open(struct wire *wire, uint16_t mtu)
{
	const char *what;
	int64_t error = nic_device_find(&wire->device);

	if (error < 0) {
		user_log(
			"no NIC that there is a driver for (virtio-net, 82574) was granted: spawn netd from the console, "
			"on a machine with one");
		return false;
	}
	error = nic_device_open(&wire->device, &what);
	if (error == -KEUOS_ENOSYS)
		user_log("this machine has no IOMMU, so no driver may have the NIC");
	else if (error == -KEUOS_ESTATE)
		user_log("%s: another process drives it: 'devices' tells which one; end it first", what);
	else
		failed(what, error);
	if (error < 0)
		return false;
	uint32_t fault = nic_device_start(&wire->device, &wire->nic);

	if (fault) {
		user_log("the NIC does not start: fault %u (enum virtio_fault, e1000e_fault)", fault);
		return false;
	}
	if (mtu && mtu < wire->nic.mtu)
		wire->nic.mtu = mtu;
	return true;
}

void wire_run(struct wire *wire)
{
	failed("the NIC can't be let at its memory", nic_device_run(&wire->device));
}

bool wire_receive_into(struct wire *wire, uint32_t end, uint8_t *memory, uint32_t bytes)
{
	return !failed("the NIC can't be given an application's pages",
		nic_device_receive_into(&wire->device, end, memory, bytes));
}

void wire_receive_own(struct wire *wire)
{
	failed("an application's pages can't be taken from the NIC", nic_device_receive_own(&wire->device));
}

bool wire_poll(struct wire *wire)
{
	return nic_device_poll(&wire->device, BUDGET) > 0;
}

void wire_flush(struct wire *wire)
{
	nic_device_flush(&wire->device);
}

uint64_t wire_sleep(struct wire *wire, uint64_t deadline_ns)
{
	uint32_t device = wire->device.device;
	uint64_t bits;

	if (nic_device_arm(&wire->device)) {
		nic_device_disarm(&wire->device);
		return 0;
	}
	bits = sys_device_wait(device, UINT64_MAX, deadline_ns);
	nic_device_disarm(&wire->device);
	if (sys_is_error((int64_t)bits))
		return 0;
	if (bits & sys_bit(device))
		nic_device_look(&wire->device);
	return bits;
}

bool wire_broken(const struct wire *wire)
{
	return !nic_device_runs(&wire->device);
}
