package sut

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// Chromium is how tests start a browser: a program that is installed, without a window, from an empty profile, and unable to
// reach anybody but this machine. More options may follow. It fails the test where no browser is installed.
//
// The program is the one that SALLYPORT_CHROMIUM names, or the first of a list. Chromium without windows comes first: it draws
// the same pages and takes half the time.
func Chromium(tb testing.TB) []chromedp.ExecAllocatorOption {
	tb.Helper()
	// Ubuntu's chromium-browser may be a stub that asks for a snap: it comes last.
	names := []string{"chromium-headless-shell", "chromium", "google-chrome", "google-chrome-stable", "chromium-browser"}
	if named := os.Getenv("SALLYPORT_CHROMIUM"); named != "" {
		names = []string{named}
	}
	program := ""
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			program = path
			break
		}
	}
	if program == "" {
		tb.Fatalf("no browser was found (%q): run scripts/setup, install one by hand (Debian: apt-get install chromium-headless-shell), or name one in SALLYPORT_CHROMIUM", names)
	}
	return append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program),
		chromedp.WSURLReadTimeout(90*time.Second), // the first start on a busy machine
		chromedp.NoSandbox,
		chromedp.DisableGPU,
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true),
		// Nobody but this machine can be reached, whatever a page or the browser itself tries.
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"),
	)
}
