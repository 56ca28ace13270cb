// Dapr's own code for its encryption scheme and algorithms, github.com/dapr/kit, as the module proxy serves it: what mecha
// makes and reads is held against it. A request is a line of JSON, and so is its answer.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"log"
	"os"

	"github.com/dapr/kit/crypto"
	encv1 "github.com/dapr/kit/schemes/enc/v1"
	"github.com/lestrrat-go/jwx/v2/jwk"
)

type request struct {
	Do        string          `json:"do"`
	Key       json.RawMessage `json:"key"`
	KeyName   string          `json:"keyName"`
	Algorithm string          `json:"algorithm"`
	Cipher    string          `json:"cipher"`
	Data      []byte          `json:"data"`
	Nonce     []byte          `json:"nonce"`
	Tag       []byte          `json:"tag"`
	Label     []byte          `json:"label"`
}

type answer struct {
	Data  []byte `json:"data"`
	Tag   []byte `json:"tag,omitempty"`
	Valid bool   `json:"valid,omitempty"`
	Error string `json:"error,omitempty"`
}

func main() {
	lines := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := json.NewEncoder(os.Stdout)
	for {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return
		}
		if err != nil {
			log.Fatal(err)
		}
		var asked request
		if err := json.Unmarshal(line, &asked); err != nil {
			log.Fatal(err)
		}
		given, err := serve(asked)
		if err != nil {
			given = answer{Error: err.Error()}
		}
		if err := out.Encode(given); err != nil {
			log.Fatal(err)
		}
	}
}

func serve(asked request) (given answer, err error) {
	key, err := jwk.ParseKey(asked.Key)
	if err != nil {
		return given, err
	}
	switch asked.Do {
	case "encrypt":
		given.Data, err = encrypt(asked, key)
	case "decrypt":
		given.Data, err = decrypt(asked, key)
	case "seal-symmetric":
		// What `Encrypt` leaves out of its list.
		given.Data, given.Tag, err = crypto.EncryptSymmetric(asked.Data, asked.Algorithm, key, asked.Nonce, asked.Label)
	case "seal":
		given.Data, given.Tag, err = crypto.Encrypt(asked.Data, asked.Algorithm, key, asked.Nonce, asked.Label)
	case "open":
		given.Data, err = crypto.Decrypt(asked.Data, asked.Algorithm, key, asked.Nonce, asked.Tag, asked.Label)
	case "sign":
		given.Data, err = crypto.SignPrivateKey(asked.Data, asked.Algorithm, key)
	case "verify":
		given.Valid, err = crypto.VerifyPublicKey(asked.Data, asked.Tag, asked.Algorithm, key)
	}
	return given, err
}

func encrypt(asked request, key jwk.Key) ([]byte, error) {
	cipher := encv1.Cipher(asked.Cipher)
	stream, err := encv1.Encrypt(bytes.NewReader(asked.Data), encv1.EncryptOptions{
		Algorithm: encv1.KeyAlgorithm(asked.Algorithm),
		KeyName:   asked.KeyName,
		Cipher:    &cipher,
		WrapKeyFn: func(plain []byte, algorithm, _ string, nonce []byte) ([]byte, []byte, error) {
			return crypto.Encrypt(plain, algorithm, key, nonce, nil)
		},
	})
	if err != nil {
		return nil, err
	}
	return io.ReadAll(stream)
}

func decrypt(asked request, key jwk.Key) ([]byte, error) {
	stream, err := encv1.Decrypt(bytes.NewReader(asked.Data), encv1.DecryptOptions{
		UnwrapKeyFn: func(wrapped []byte, algorithm, _ string, nonce, tag []byte) ([]byte, error) {
			return crypto.Decrypt(wrapped, algorithm, key, nonce, tag, nil)
		},
	})
	if err != nil {
		return nil, err
	}
	return io.ReadAll(stream)
}
