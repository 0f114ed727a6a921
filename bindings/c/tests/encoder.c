/* An encoder library whose codes are the mean colour of a picture, 8 bits a channel. Compiled with FINGERPRINT,
 * that of the model. It can be opened twice in a process, so that opening it too often shows. */

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static int opened;

uint32_t bitkin_encoder_abi(void) { return 1; }

int32_t bitkin_encoder_open(const uint8_t *model, size_t size, int32_t device, void **handle,
                            char *message, size_t message_size)
{
    (void)model, (void)size, (void)device;
    if (opened == 2) {
        snprintf(message, message_size, "opened a third time");
        return 1;
    }
    opened++;
    *handle = &opened;
    return 0;
}

int32_t bitkin_encoder_describe(void *handle, char *json, size_t size)
{
    (void)handle;
    return snprintf(json, size,
                    "{\"bits\":24,\"input\":{\"width\":1,\"height\":1,\"resize\":\"stretch\"},"
                    "\"fingerprint\":\"%s\",\"preferred_batch\":4,\"device\":\"cpu\"}",
                    FINGERPRINT);
}

int32_t bitkin_encoder_encode(void *handle, const uint8_t *pixels, size_t count, uint8_t *codes,
                              char *message, size_t message_size)
{
    (void)handle, (void)message, (void)message_size;
    memcpy(codes, pixels, 3 * count);
    return 0;
}

void bitkin_encoder_close(void *handle) { (void)handle; }
