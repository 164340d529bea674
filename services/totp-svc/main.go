// Command totp-svc answers: is this the code that this person's authenticator app shows now?
package main

import (
	"os"

	"sallyport/pkg/service"
	"sallyport/services/totp-svc/totp"
)

func main() { os.Exit(service.Main[totp.Settings]("totp-svc", totp.Start)) }
