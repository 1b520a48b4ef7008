/*
 * What a device may reach: ranges of its domain, each showing pages of one memory object, or of the data ring of one end
 * of a channel, that its driver holds. A range keeps its frames alive; it goes with the capability that it was made from.
 */
#include <kernel/channel.h>
#include <kernel/device.h>
#include <kernel/frame.h>

static bool overlaps_one(const struct device *device, uint64_t iova, uint64_t bytes)
{
	for (uint32_t i = 0; i < KEUOS_DMA_RANGES; i++) {
		const struct dma_range *range = &device->ranges[i];
		uint64_t range_bytes = (uint64_t)range->pages * KEUOS_PAGE_BYTES;
		if (range->pages && iova < range->iova + range_bytes && range->iova < iova + bytes)
			return true;
	}
	return false;
}

static bool in_interrupt_window(uint64_t iova, uint64_t bytes)
{
	return iova < INTERRUPT_WINDOW + INTERRUPT_WINDOW_BYTES && INTERRUPT_WINDOW < iova + bytes;
}

/* Entries go, then the IOMMU's memory of them and every access under way, and only then the frames. */
static void take_away(struct device *device, struct dma_range *range)
{
	uint64_t frames_there[32];
	for (uint32_t done = 0; done < range->pages;) {
		uint32_t part = 0;
		for (; done < range->pages && part < 32; done++)
			frames_there[part++] =
				arch_iommu_unmap(&device->domain, range->iova + (uint64_t)done * KEUOS_PAGE_BYTES);
		arch_iommu_flush(&device->domain);
		for (uint32_t i = 0; i < part; i++)
			if (frames_there[i])
				frame_release(frames_there[i]);
	}
	*range = (struct dma_range){0};
}

int dma_map(
	struct device *device, uint32_t capability, const uint64_t *shown, uint32_t pages, uint64_t iova, bool writable)
{
	uint64_t bytes = (uint64_t)pages * KEUOS_PAGE_BYTES;
	if (iova % KEUOS_PAGE_BYTES != 0 || iova >= arch_iommu_end() || bytes > arch_iommu_end() - iova ||
		in_interrupt_window(iova, bytes))
		return -KEUOS_EINVAL;
	if (overlaps_one(device, iova, bytes))
		return -KEUOS_ESTATE;
	struct dma_range *range = device->ranges;
	while (range < device->ranges + KEUOS_DMA_RANGES && range->pages)
		range++;
	if (range == device->ranges + KEUOS_DMA_RANGES)
		return -KEUOS_EQUOTA;
	*range = (struct dma_range){.iova = iova, .pages = pages, .capability = capability};
	for (uint32_t i = 0; i < pages; i++) {
		if (!arch_iommu_map(&device->domain, iova + (uint64_t)i * KEUOS_PAGE_BYTES, shown[i], writable)) {
			take_away(device, range);
			return -KEUOS_EQUOTA;
		}
		frame_hold(shown[i]);
	}
	return 0;
}

int dma_unmap(struct device *device, uint64_t iova)
{
	for (uint32_t i = 0; i < KEUOS_DMA_RANGES; i++)
		if (device->ranges[i].pages && device->ranges[i].iova == iova) {
			take_away(device, &device->ranges[i]);
			return 0;
		}
	return -KEUOS_ENOENT;
}

void dma_unmap_all(struct device *device)
{
	for (uint32_t i = 0; i < KEUOS_DMA_RANGES; i++)
		if (device->ranges[i].pages)
			take_away(device, &device->ranges[i]);
}

void dma_capability_cleared(const struct process *process, uint32_t index)
{
	for (uint32_t d = 0; d < device_count; d++) {
		if (devices[d].holder != process)
			continue;
		for (uint32_t i = 0; i < KEUOS_DMA_RANGES; i++)
			if (devices[d].ranges[i].pages && devices[d].ranges[i].capability == index)
				take_away(&devices[d], &devices[d].ranges[i]);
	}
}
