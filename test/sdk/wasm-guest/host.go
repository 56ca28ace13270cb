// The functions of http-wasm's handler ABI.
package main

import (
	"strings"
	"unsafe"
)

//go:wasmimport http_handler enable_features
func enableFeatures(features uint32) uint32

//go:wasmimport http_handler get_config
func getConfig(at unsafe.Pointer, limit uint32) uint32

//go:wasmimport http_handler log
func hostLog(level int32, at unsafe.Pointer, size uint32)

//go:wasmimport http_handler log_enabled
func logEnabled(level int32) uint32

//go:wasmimport http_handler get_method
func getMethod(at unsafe.Pointer, limit uint32) uint32

//go:wasmimport http_handler set_method
func setMethod(at unsafe.Pointer, size uint32)

//go:wasmimport http_handler get_uri
func getURI(at unsafe.Pointer, limit uint32) uint32

//go:wasmimport http_handler set_uri
func setURI(at unsafe.Pointer, size uint32)

//go:wasmimport http_handler get_protocol_version
func getProtocolVersion(at unsafe.Pointer, limit uint32) uint32

//go:wasmimport http_handler get_source_addr
func getSourceAddr(at unsafe.Pointer, limit uint32) uint32

//go:wasmimport http_handler get_header_names
func getHeaderNames(kind uint32, at unsafe.Pointer, limit uint32) uint64

//go:wasmimport http_handler get_header_values
func getHeaderValues(kind uint32, name unsafe.Pointer, nameSize uint32, at unsafe.Pointer, limit uint32) uint64

//go:wasmimport http_handler set_header_value
func setHeaderValue(kind uint32, name unsafe.Pointer, nameSize uint32, at unsafe.Pointer, size uint32)

//go:wasmimport http_handler add_header_value
func addHeaderValue(kind uint32, name unsafe.Pointer, nameSize uint32, at unsafe.Pointer, size uint32)

//go:wasmimport http_handler remove_header
func removeHeader(kind uint32, name unsafe.Pointer, nameSize uint32)

//go:wasmimport http_handler read_body
func readBody(kind uint32, at unsafe.Pointer, limit uint32) uint64

//go:wasmimport http_handler write_body
func writeBody(kind uint32, at unsafe.Pointer, size uint32)

//go:wasmimport http_handler get_status_code
func getStatusCode() uint32

//go:wasmimport http_handler set_status_code
func setStatusCode(status uint32)

func at(text string) (unsafe.Pointer, uint32) {
	return unsafe.Pointer(unsafe.StringData(text)), uint32(len(text))
}

// Asks twice when the first room is too small.
func read(get func(unsafe.Pointer, uint32) uint32) string {
	room := make([]byte, 8)
	size := get(unsafe.Pointer(&room[0]), uint32(len(room)))
	if size > uint32(len(room)) {
		room = make([]byte, size)
		size = get(unsafe.Pointer(&room[0]), size)
	}
	return string(room[:size])
}

func header(kind uint32, name string) string {
	room := make([]byte, 1024)
	nameAt, nameSize := at(name)
	found := getHeaderValues(kind, nameAt, nameSize, unsafe.Pointer(&room[0]), uint32(len(room)))
	first, _, _ := strings.Cut(string(room[:uint32(found)]), "\x00")
	return first
}

func setHeader(kind uint32, name, value string) {
	nameAt, nameSize := at(name)
	valueAt, valueSize := at(value)
	setHeaderValue(kind, nameAt, nameSize, valueAt, valueSize)
}

func body(kind uint32) string {
	whole := []byte{}
	room := make([]byte, 7)
	for {
		answer := readBody(kind, unsafe.Pointer(&room[0]), uint32(len(room)))
		whole = append(whole, room[:uint32(answer)]...)
		if answer>>32 == 1 {
			return string(whole)
		}
	}
}
