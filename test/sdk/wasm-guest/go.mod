module mecha.test/sdk/wasm-guest

go 1.26.4
