package bus

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheckURL(t *testing.T) {
	for _, good := range []string{
		"nats://127.0.0.1:4222", "tls://nats.example", "nats://[::1]:4222", "nats://app:hunter2@a:4222, tls://b:4222,nats://c/", "ws://a:80,wss://b", "127.0.0.1:4222", "nats://a:4222,", "app:hunter2@a:4222", "[::1]:4222,nats.example:4222",
	} {
		if err := CheckURL(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "hunter2", "hunter2:", ":4222", "http://127.0.0.1:4222", "nats://", "nats://:4222", "nats://a:99999", ",", " ", "nats://a,hunter2", "nats://app:hunter2@[::1", "nats://a,ws://b",
	} {
		if err := CheckURL(bad); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestCheckCreds(t *testing.T) {
	const seed = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY" // that of the manual of NATS
	token := "-----BEGIN NATS USER JWT-----\neyJ0.eyJq.c2ln\n------END NATS USER JWT------\n"
	key := fmt.Sprintf("-----BEGIN USER NKEY SEED-----\n%s\n------END USER NKEY SEED------\n", seed)
	dir := t.TempDir()
	for name, text := range map[string]string{"good": token + key, "empty": "", "text": "hunter2", "token": token, "key": key} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		err := CheckCreds(file)
		if (err == nil) != (name == "good") || err != nil && (!strings.Contains(err.Error(), file) || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), seed)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := CheckCreds(filepath.Join(dir, "none")); !os.IsNotExist(err) {
		t.Errorf("no file: %v", err)
	}
}
