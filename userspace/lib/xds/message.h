/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* message - protobuf messages on gRPC calls. No state. */
#include <protobuf-c/protobuf-c.h>

#include "base/macros.h"
#include "http/grpc.h"

/** message_send() - pack and queue. Return: 0; -ENOMEM; as grpc_call_send(). */
_must_check_ int message_send(struct grpc_call *c, const ProtobufCMessage *m);
