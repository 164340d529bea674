// Command sms-dispatcher answers: did the text message go out, and is this its code?
package main

import (
	"os"

	"sallyport/pkg/service"
	"sallyport/services/sms-dispatcher/sms"
)

func main() { os.Exit(service.Main[sms.Settings]("sms-dispatcher", sms.Start)) }
