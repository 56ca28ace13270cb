// A guest of http-wasm, made by Go itself. What it does stands in the path.
package main

import (
	"fmt"
	"strings"
	"unsafe"
)

func main() {}

var config string
var seen int

func init() {
	config = read(getConfig)
	if strings.Contains(config, "answers") {
		enableFeatures(3)
	}
	if config == "broken" {
		panic("the guest does not want to")
	}
}

const next = 1

//go:wasmexport handle_request
func handleRequest() uint64 {
	seen++
	path := read(getURI)
	switch {
	case strings.Contains(path, "/refuse"):
		setStatusCode(403)
		setHeader(1, "X-Why", "because")
		writeBody(1, unsafe.Pointer(unsafe.StringData("not you ")), 8)
		writeBody(1, unsafe.Pointer(unsafe.StringData(config)), uint32(len(config)))
		return 0
	case strings.Contains(path, "/change"):
		to, size := at(strings.Replace(path, "/change", "/changed?by=guest", 1))
		setURI(to, size)
		method, methodSize := at("PUT")
		setMethod(method, methodSize)
		changed := strings.ToUpper(body(0)) + " " + read(getMethod)
		writeBody(0, unsafe.Pointer(unsafe.StringData(changed)), uint32(len(changed)))
		setHeader(0, "x-guest", header(0, "x-caller")+read(getSourceAddr)+read(getProtocolVersion))
		name, nameSize := at("x-drop")
		removeHeader(0, name, nameSize)
	case strings.Contains(path, "/names"):
		room := make([]byte, 4096)
		found := getHeaderNames(0, unsafe.Pointer(&room[0]), 4096)
		names := string(room[:uint32(found)])
		text := fmt.Sprint(found>>32, " ", strings.Contains(names, "x-caller\x00"))
		writeBody(1, unsafe.Pointer(unsafe.StringData(text)), uint32(len(text)))
		return 0
	case strings.Contains(path, "/log"):
		text, size := at("the guest says so")
		if logEnabled(0) == 1 {
			hostLog(0, text, size)
		}
	case strings.Contains(path, "/hang"):
		for {
		}
	case strings.Contains(path, "/panic"):
		panic("the guest broke down")
	}
	return next | uint64(seen)<<32
}

//go:wasmexport handle_response
func handleResponse(context uint32, _ uint32) {
	setHeader(1, "X-Context", fmt.Sprint(context > 0))
	setHeader(1, "X-Status", fmt.Sprint(getStatusCode()))
	name, nameSize := at("X-Added")
	for _, value := range []string{"one", "two"} {
		valueAt, size := at(value)
		addHeaderValue(1, name, nameSize, valueAt, size)
	}
	if strings.Contains(config, "answers") {
		changed := "<" + body(1) + ">"
		setStatusCode(201)
		writeBody(1, unsafe.Pointer(unsafe.StringData(changed)), uint32(len(changed)))
	}
}
