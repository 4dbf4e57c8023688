# SPDX-License-Identifier: Apache-2.0
"""What the demo and the mesh tests share: the lab, the mesh processes, the wire between the nodes."""
