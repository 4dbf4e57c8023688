# SPDX-License-Identifier: Apache-2.0
agent := userspace/agent
agent-srcs += $(agent)/adopt.c $(agent)/agent.c $(agent)/cni_conf.c $(agent)/cni_fresh.c $(agent)/cni_install.c $(agent)/cni_server.c $(agent)/kube_events.c $(agent)/kube_write.c $(agent)/handover.c $(agent)/datapath.c $(agent)/destmap.c $(agent)/direct.c $(agent)/direct_bytes.c $(agent)/sockdestroy.c $(agent)/dests.c $(agent)/frontends.c $(agent)/guard.c $(agent)/links.c $(agent)/netlink.c $(agent)/pinlink.c $(agent)/resource.c $(agent)/uplink.c $(agent)/enrolment.c $(agent)/earlier.c $(agent)/sockdump.c \
	$(agent)/exclude.c $(agent)/rules.c $(agent)/events.c $(agent)/features.c $(agent)/maker.c $(agent)/mesh.c $(agent)/metrics.c $(agent)/nameservers.c $(agent)/mounts.c $(agent)/netns.c \
	$(agent)/objects.c $(agent)/objects_sandbox.c $(agent)/pods.c $(agent)/pods_addrs.c $(agent)/pods_sockets.c $(agent)/pods_status.c $(agent)/podspec.c $(agent)/procs.c $(agent)/resolvconf.c $(agent)/sockets.c $(agent)/stock.c \
	$(agent)/status.c $(agent)/sweep.c $(agent)/zds.c $(agent)/main.c
