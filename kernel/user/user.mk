# User programs and the initrd. kernel/Makefile includes this file; alone it works too: make -f kernel/user/user.mk
#
# Every folder here except lib is a program: NAME/*.c (and NAME/$(ARCH)/*.S) becomes $(BUILD)/user/NAME.elf, with debug
# information for the host, and user/NAME in $(BUILD)/initrd.cpio, without it. A new program needs a folder, no line here.
#
# Uses BUILD, ARCH, CC and USER_OPTIMIZE if they are set. Targets: user (all programs), initrd.

USER_DIR := $(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))
ARCH ?= x86_64
BUILD ?= $(USER_DIR)/../../build/kernel/$(ARCH)
ifeq ($(origin CC),default)
CC := clang
endif
USER_LD ?= ld.lld
USER_OPTIMIZE ?= -O2
PYTHON ?= python3

BUILD := $(abspath $(BUILD))
USER_BUILD := $(BUILD)/user
USER_TOP := $(abspath $(USER_DIR)/../..)
USER_SOURCES := $(wildcard $(USER_DIR)/*/*.c $(USER_DIR)/*/$(ARCH)/*.[cS])
USER_PROGRAMS := $(sort $(filter-out lib,$(foreach s,$(USER_SOURCES),$(firstword $(subst /, ,$(s:$(USER_DIR)/%=%))))))
# NetD has a folder of its own. netd_hil is the same with a clock that a test can take over, a line for it, and more memory.
USER_PROGRAMS := $(sort $(USER_PROGRAMS) netd netd_hil)
USER_ELFS := $(USER_PROGRAMS:%=$(USER_BUILD)/%.elf)

USER_CPPFLAGS := -I$(USER_DIR)/lib -I$(USER_DIR)/lib/$(ARCH) -I$(USER_DIR)/../include
# No file of the host's C library may be found by accident: -nostdlibinc leaves the compiler's own headers only.
# Unused types stay in the debug information because the host takes its enumerators and layouts from there.
USER_TARGET := $(ARCH:arm64=aarch64)-unknown-none-elf
USER_CFLAGS := --target=$(USER_TARGET) -std=c17 $(USER_OPTIMIZE) -g -gdwarf-4 -fno-eliminate-unused-debug-types \
	-ffreestanding -nostdlibinc -fno-stack-protector -fno-pic -fno-pie -fno-asynchronous-unwind-tables \
	-ffunction-sections -fdata-sections -fno-common -fdebug-prefix-map=$(USER_TOP)=. \
	-Wall -Wextra -Werror -Wmissing-prototypes -Wstrict-prototypes -Wshadow
# The build-id is made from the objects, so that the copy in the initrd and the one with debug information carry the same.
USER_LDFLAGS := -static -nostdlib -T $(USER_DIR)/lib/user.ld -z max-page-size=4096 -z norelro -z noexecstack \
	--gc-sections --fatal-warnings --orphan-handling=error

# What a program takes from elsewhere in the tree: more_NAME, paths from its top.
nic_drivers := netd/drivers/virtio_net.c netd/drivers/e1000e.c
more_nic_probe := $(nic_drivers) netd/keuos/nic_device.c
netd_common := $(nic_drivers) $(patsubst $(USER_TOP)/%,%,$(sort $(wildcard $(patsubst %,$(USER_TOP)/netd/%/*.c,wire stack services)) \
	$(filter-out $(USER_TOP)/netd/keuos/machine_% $(USER_TOP)/netd/keuos/test_%,$(wildcard $(USER_TOP)/netd/keuos/*.c))))
more_netd := $(netd_common) $(patsubst %,netd/keuos/machine_%.c,clock memory)
more_netd_hil := $(netd_common) $(patsubst %,netd/keuos/test_%.c,clock line calls memory)
USER_CPPFLAGS += -I$(USER_TOP)/netd/include -I$(USER_TOP)/netd/drivers -I$(USER_TOP)/netd/keuos

# $(call user_objects,NAME): the objects of a program's or the library's folder
user_objects = $(patsubst $(USER_DIR)/%,$(USER_BUILD)/obj/%.o,$(sort \
	$(wildcard $(USER_DIR)/$(1)/*.c $(USER_DIR)/$(1)/$(ARCH)/*.[cS]))) $(more_$(1):%=$(USER_BUILD)/obj/more/%.o)

.PHONY: user initrd
user: $(USER_ELFS)
initrd: $(BUILD)/initrd.cpio

$(USER_BUILD)/obj/%.o: $(USER_DIR)/% $(USER_DIR)/user.mk
	@mkdir -p $(@D)
	$(CC) $(USER_CFLAGS) $(USER_CPPFLAGS) -MMD -MP -c -o $@ $<

$(USER_BUILD)/obj/more/%.o: $(USER_TOP)/% $(USER_DIR)/user.mk
	@mkdir -p $(@D)
	$(CC) $(USER_CFLAGS) $(USER_CPPFLAGS) -MMD -MP -c -o $@ $<

# Freestanding or not, a compiler may turn the body of memset into a call of memset.
$(USER_BUILD)/obj/lib/string.c.o: USER_CFLAGS += -fno-builtin

# The probe's asm statements push, and a compiler that knows nothing of it keeps variables below the stack pointer.
NO_RED_ZONE_x86_64 := -mno-red-zone
$(USER_BUILD)/obj/probe/%: USER_CFLAGS += $(NO_RED_ZONE_$(ARCH))

define user_program
$(USER_BUILD)/$(1).elf: $(call user_objects,lib) $(call user_objects,$(1)) $(USER_DIR)/lib/user.ld
	@mkdir -p $$(@D) $(USER_BUILD)/initrd
	id=$$$$(cat $$(filter %.o,$$^) | sha1sum | cut -c1-40) && \
	$(USER_LD) $(USER_LDFLAGS) --build-id=0x$$$$id --strip-debug -o $(USER_BUILD)/initrd/$(1) $$(filter %.o,$$^) && \
	$(USER_LD) $(USER_LDFLAGS) --build-id=0x$$$$id -o $$@ $$(filter %.o,$$^)
endef
$(foreach program,$(USER_PROGRAMS),$(eval $(call user_program,$(program))))

# The list of programs is a prerequisite of its own: a folder that went away must leave the initrd.
$(USER_BUILD)/programs: FORCE
	@mkdir -p $(@D)
	@echo '$(USER_PROGRAMS)' | cmp -s - $@ || echo '$(USER_PROGRAMS)' > $@
.PHONY: FORCE
FORCE:

$(BUILD)/initrd.cpio: $(USER_ELFS) $(USER_BUILD)/programs $(USER_DIR)/../tools/mkinitrd.py
	$(PYTHON) $(USER_DIR)/../tools/mkinitrd.py --output $@ $(USER_PROGRAMS:%=$(USER_BUILD)/initrd/%)

-include $(patsubst %.o,%.d,$(call user_objects,lib) $(foreach p,$(USER_PROGRAMS),$(call user_objects,$(p))))
