# SPDX-License-Identifier: Apache-2.0
source := userspace/lib/source
lib-srcs += $(addprefix $(source)/,folder.c honoured.c kinds_core.c kinds_istio.c kinds_network.c kinds_security.c kinds_telemetry.c manifest.c mesh_config.c mesh_config_find.c namespace_selector.c object.c pod_facts.c json_pool.c \
	scalar.c schema.c source.c store.c words.c yaml.c)
lib-srcs += $(addprefix $(source)/,kube.c kube_call.c kube_client.c kube_config.c kube_curl.c kube_frames.c kube_json.c kube_list.c kube_prune.c kube_resource.c kube_watch.c)
lib-made += $(BUILD)/gen/$(source)/kinds_unread.c
$(BUILD)/gen/$(source)/kinds_unread.c: tools/deploy/crds/generate tools/deploy/crds/kinds.txt
	$(call say,KINDS,$@)
	$(Q)mkdir -p $(@D) && $< --c > $@.new && mv $@.new $@
