# `make check` is everything that CI runs; `make soak` is what takes hours. The steps are in tools/.

.PHONY: check soak bench fmt

check:
	@bash tools/check

soak:
	@bash tools/soak

bench:
	cargo bench --locked

fmt:
	cargo fmt
