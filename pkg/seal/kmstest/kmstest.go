// Package kmstest answers: what does AWS KMS say, to a test that has no AWS?
//
// It speaks the JSON protocol of Encrypt and Decrypt on a loopback port, and keeps what matters of KMS: the key never
// leaves, and a ciphertext opens only with the encryption context that it was made with.
package kmstest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"sallyport/pkg/seal"
)

// Key is the ARN of the one key there is.
const Key = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"

// URI is the key as a key file names it.
const URI = seal.KMSScheme + Key

// KMS is an endpoint.
type KMS struct {
	aead   cipher.AEAD
	server *httptest.Server

	mu       sync.Mutex
	asked    []string
	contexts []map[string]string
}

// Start starts an endpoint, and stops it with the test.
func Start(tb testing.TB) *KMS {
	tb.Helper()
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	block, err := aes.NewCipher(key)
	if err != nil {
		tb.Fatal(err)
	}
	k := &KMS{}
	if k.aead, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		tb.Fatal(err)
	}
	k.server = httptest.NewServer(k)
	tb.Cleanup(k.server.Close)
	return k
}

// Env are the variables with which the AWS SDK finds it.
func (k *KMS) Env() map[string]string {
	return map[string]string{
		"AWS_ENDPOINT_URL_KMS": k.server.URL, "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "example",
		"AWS_EC2_METADATA_DISABLED": "true",
	}
}

// Close stops it: KMS is away from now on.
func (k *KMS) Close() { k.server.Close() }

// Away are the variables of a KMS that nobody answers for.
func Away(tb testing.TB) map[string]string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // that nobody listens is what is wanted
	return map[string]string{
		"AWS_ENDPOINT_URL_KMS": "http://" + l.Addr().String(), "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "example",
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_MAX_ATTEMPTS": "1",
	}
}

// Asked returns the operations that were asked for, and their encryption contexts.
func (k *KMS) Asked() ([]string, []map[string]string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]string(nil), k.asked...), append([]map[string]string(nil), k.contexts...)
}

// ServeHTTP answers.
func (k *KMS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var q struct {
		KeyID             string `json:"KeyId"`
		Plaintext         []byte
		CiphertextBlob    []byte
		EncryptionContext map[string]string
	}
	operation := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "TrentService.")
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil || !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ") {
		refuse(w, "ValidationException")
		return
	}
	k.mu.Lock()
	k.asked, k.contexts = append(k.asked, operation), append(k.contexts, q.EncryptionContext)
	k.mu.Unlock()
	if q.KeyID != Key {
		refuse(w, "NotFoundException")
		return
	}
	ad, _ := json.Marshal(q.EncryptionContext) // a map's keys are sorted
	answer := map[string]any{"KeyId": Key}
	switch operation {
	case "Encrypt":
		if len(q.Plaintext) == 0 || len(q.Plaintext) > 4096 {
			refuse(w, "ValidationException")
			return
		}
		answer["CiphertextBlob"] = k.aead.Seal(nil, nil, q.Plaintext, ad)
	case "Decrypt":
		plain, err := k.aead.Open(nil, nil, q.CiphertextBlob, ad)
		if err != nil {
			refuse(w, "InvalidCiphertextException")
			return
		}
		answer["Plaintext"] = plain
	default:
		refuse(w, "UnknownOperationException")
		return
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	_ = json.NewEncoder(w).Encode(answer)
}

func refuse(w http.ResponseWriter, code string) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.WriteHeader(http.StatusBadRequest)
	_ = json.NewEncoder(w).Encode(map[string]string{"__type": code, "message": code})
}
