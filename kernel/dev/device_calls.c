/* System calls on devices. docs/syscall-abi.md, "Devices", has their contracts. */
#include <kernel/channel.h>
#include <kernel/device.h>
#include <kernel/memory.h>
#include <kernel/syscall.h>

static struct device *device_at(uint64_t index, uint32_t rights, int *error)
{
	struct capability *capability = capability_get(current_process(), index, KEUOS_CAP_DEVICE, rights, error);
	return capability ? capability->object : NULL;
}

/* The device at that index if the caller has claimed it through that index, and no reset is under way. */
static struct device *own_device(uint64_t index, int *error)
{
	struct device *device = device_at(index, KEUOS_RIGHT_CONTROL, error);
	if (device == NULL)
		return NULL;
	*error = device->holder == current_process() && device->capability == index ? device_ready(device)
										    : -KEUOS_ESTATE;
	return *error ? NULL : device;
}

static uint32_t index_of(const struct process *process, const struct device *device)
{
	for (uint32_t i = 0; i < KEUOS_CAPABILITIES; i++)
		if (process->capabilities[i].type == KEUOS_CAP_DEVICE && process->capabilities[i].object == device)
			return i;
	return 0;
}

struct result sys_device_list(uint64_t index, uint64_t to, uint64_t n, REST3)
{
	int error;
	if (capability_get(current_process(), index, KEUOS_CAP_SYSTEM, 0, &error) == NULL)
		return result_of(error);
	for (uint32_t i = 0; i < device_count && i < n; i++) {
		struct keuos_device_info info;
		device_describe(&devices[i], &info);
		info.capability = index_of(current_process(), &devices[i]);
		if (!copy_to_user((struct user_pointer){to + i * sizeof(info)}, &info, sizeof(info)))
			return result_of(-KEUOS_EFAULT);
	}
	return result_of(device_count);
}

struct result sys_device_info(uint64_t index, uint64_t to, REST2)
{
	int error;
	struct keuos_device_info info;
	const struct device *device = device_at(index, KEUOS_RIGHT_READ, &error);
	if (device == NULL)
		return result_of(error);
	device_describe(device, &info);
	info.capability = (uint32_t)index;
	return result_of(copy_to_user((struct user_pointer){to}, &info, sizeof(info)) ? 0 : -KEUOS_EFAULT);
}

struct result sys_device_config(uint64_t index, uint64_t offset, uint64_t width, REST3)
{
	int error;
	struct device *device = device_at(index, KEUOS_RIGHT_READ, &error);
	if (device == NULL)
		return result_of(error);
	if ((width != 1 && width != 2 && width != 4) || offset >= 4096 || offset % width != 0)
		return result_of(-KEUOS_EINVAL);
	error = device_ready(device);
	return result_of(error ? error : (int64_t)pci_read(device->function, (uint32_t)offset, (uint32_t)width));
}

struct result sys_device_control(uint64_t index, uint64_t operation, uint64_t argument, REST3)
{
	int error;
	struct device *device = device_at(index, KEUOS_RIGHT_CONTROL, &error);
	if (device == NULL)
		return result_of(error);
	if (operation == KEUOS_DEVICE_CLAIM)
		return result_of(device_claim(current_process(), (uint32_t)index, device));
	device = own_device(index, &error);
	if (device == NULL)
		return result_of(error);
	switch (operation) {
	case KEUOS_DEVICE_RELEASE:
		device_release(device);
		return result_of(0);
	case KEUOS_DEVICE_MASTER:
		return result_of(argument > 1 ? -KEUOS_EINVAL : device_master(device, argument == 1));
	case KEUOS_DEVICE_RESET:
		return result_of(device_reset(device));
	case KEUOS_DEVICE_INTERRUPT:
		return result_of(
			argument > UINT32_MAX ? -KEUOS_EINVAL : device_interrupt_on(device, (uint32_t)argument));
	case KEUOS_DEVICE_NO_INTERRUPT:
		return result_of(
			argument > UINT32_MAX ? -KEUOS_EINVAL : device_interrupt_off(device, (uint32_t)argument));
	default:
		return result_of(-KEUOS_EINVAL);
	}
}

struct result sys_device_map(uint64_t index, uint64_t bar, uint64_t offset, uint64_t pages, REST4)
{
	int error;
	uint64_t address;
	struct device *device = own_device(index, &error);
	if (device == NULL)
		return result_of(error);
	if (bar >= KEUOS_DEVICE_BARS || pages > KEUOS_DEVICE_MAP_PAGES_MAX)
		return result_of(-KEUOS_EINVAL);
	error = device_map(device, (uint32_t)bar, offset, (uint32_t)pages, &address);
	return result_of(error ? error : (int64_t)address);
}

/* The frames that a capability of the caller stands for: a memory object's, or those of a channel's data ring. */
static const uint64_t *frames_of(uint64_t index, bool writable, uint32_t *count, int *error)
{
	struct process *self = current_process();
	*error = -KEUOS_EBADCAP;
	if (index >= KEUOS_CAPABILITIES)
		return NULL;
	const struct capability *capability = &self->capabilities[arch_bounded(index, KEUOS_CAPABILITIES)];
	bool allowed;
	const uint64_t *frames_there;
	switch (capability->type) {
	case KEUOS_CAP_MEMORY: {
		const struct memory_object *object = capability->object;
		allowed =
			capability->rights & KEUOS_RIGHT_READ && (!writable || capability->rights & KEUOS_RIGHT_WRITE);
		frames_there = object->frames;
		*count = object->pages;
		break;
	}
	case KEUOS_CAP_PRODUCER:
	case KEUOS_CAP_CONSUMER: {
		const struct channel *channel = capability->object;
		allowed = !writable || capability->type == KEUOS_CAP_PRODUCER;
		frames_there = channel->frames + CHANNEL_FIXED_PAGES;
		*count = channel->data_bytes / KEUOS_PAGE_BYTES;
		break;
	}
	default:
		return NULL;
	}
	*error = allowed ? 0 : -KEUOS_EPERM;
	return allowed ? frames_there : NULL;
}

struct result sys_dma_map(
	uint64_t index, uint64_t object, uint64_t first, uint64_t pages, uint64_t iova, uint64_t writable)
{
	int error;
	uint32_t count;
	struct device *device = own_device(index, &error);
	if (device == NULL)
		return result_of(error);
	if (writable > 1)
		return result_of(-KEUOS_EINVAL);
	const uint64_t *shown = frames_of(object, writable, &count, &error);
	if (shown == NULL)
		return result_of(error);
	if (pages == 0 || first >= count || pages > count - first)
		return result_of(-KEUOS_EINVAL);
	return result_of(dma_map(device, (uint32_t)object, shown + first, (uint32_t)pages, iova, writable));
}

struct result sys_dma_unmap(uint64_t index, uint64_t iova, REST2)
{
	int error;
	struct device *device = own_device(index, &error);
	return result_of(device ? dma_unmap(device, iova) : error);
}

struct result sys_device_wait(uint64_t index, uint64_t mask, uint64_t deadline, REST3)
{
	int error;
	struct device *device = own_device(index, &error);
	if (device == NULL)
		return result_of(error);
	device_interrupts_arm(device);
	return sys_wait(mask, deadline, 0, 0, 0, 0);
}
