fuzz-targets += tests/fuzz/fuzz-manifest.c
fuzz-targets += tests/fuzz/fuzz-grpc.c
fuzz-targets += tests/fuzz/fuzz-xds.c
fuzz-targets += tests/fuzz/fuzz-session.c
fuzz-targets += tests/fuzz/fuzz-dns.c
fuzz-targets += tests/fuzz/fuzz-zds.c
fuzz-targets += tests/fuzz/fuzz-spiffe.c
fuzz-targets += tests/fuzz/fuzz-agent-link.c
