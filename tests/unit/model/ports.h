/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* ports - those of a service at a workload, as text. For the tests of this folder. */
#include "tests/unit/model/fixture.h"

/* "80>8080 443>8443" of the service @key on a workload; NULL when it does not serve it. */
static inline const char *ports_of(const Istio__Workload__Workload *w, const char *key)
{
	static char text[256];

	text[0] = '\0';
	for (size_t i = 0; i < w->n_services; i++) {
		const Istio__Workload__PortList *list = w->services[i]->value;

		if (strcmp(w->services[i]->key, key) != 0)
			continue;
		for (size_t j = 0; j < list->n_ports; j++)
			(void)sprintf(text + strlen(text), "%s%u>%u", j ? " " : "",
				      list->ports[j]->service_port, list->ports[j]->target_port);
		return text;
	}
	return NULL;
}
