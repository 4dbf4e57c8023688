/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz-admission - what comes to the webhook: any bytes, and any bytes as the object of a review of
 * each kind. */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "tests/fuzz/fuzz.h"
#include "userspace/control/admission.h"

static void as_object(const uint8_t *data, size_t size)
{
	static const char *const kinds[][2] = {
		{"security.istio.io", "AuthorizationPolicy"},
		{"security.istio.io", "PeerAuthentication"},
		{"networking.istio.io", "ServiceEntry"},
		{"networking.istio.io", "WorkloadGroup"},
		{"telemetry.istio.io", "Telemetry"},
	};
	const char *const *kind = kinds[data[0] % (sizeof(kinds) / sizeof(kinds[0]))];
	json_t *object = json_loadb((const char *)data + 1, size - 1, 0, NULL);
	json_t *review =
		object ? json_pack("{s:{s:s,s:{s:s,s:s},s:o}}", "request", "uid", "u", "kind",
				   "group", kind[0], "kind", kind[1], "object", object)
		       : NULL;
	struct admission_subject subject;
	char *text = review ? json_dumps(review, JSON_COMPACT) : NULL, *answer = NULL;

	if (text && admission_review(text, strlen(text), &subject, &answer) == 0)
		free(answer);
	free(text);
	json_decref(review);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct admission_subject subject;
	char *answer = NULL;

	if (size == 0)
		return 0;
	if (admission_review((const char *)data, size, &subject, &answer) == 0)
		free(answer);
	as_object(data, size);
	return 0;
}
