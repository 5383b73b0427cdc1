/* fill.c: what is written over a medium, and compared with what lies there.
 *
 * Sources: NIST SP 800-38A (counter mode); FIPS 197 (AES). `openssl enc -aes-256-ctr -K SEED -iv 0` over
 * zeros gives the same stream.
 */
#include <stdlib.h>

#include "sweep.h"

#define CIPHER_BYTES 16u
#define STEP_BYTES ((uint64_t)1 << 30) /* of one call of libcrypto, which counts in int */

int sq_fill_create(const uint8_t *pattern, uint64_t pattern_bytes, sq_fill **fill_out)
{
    if (pattern_bytes == 0 || pattern_bytes > SQ_FILL_PATTERN_BYTES)
        return SQ_E_INVALID;
    struct sq_fill *fill = calloc(1, sizeof *fill);
    if (fill == NULL)
        return SQ_E_NO_MEMORY;
    fill->pattern_bytes = (uint32_t)pattern_bytes;
    memcpy(fill->pattern, pattern, pattern_bytes);
    *fill_out = fill;
    return SQ_OK;
}

int sq_fill_create_stream(sq_crypto *crypto, const uint8_t *seed, sq_fill **fill_out)
{
    struct sq_fill *fill = calloc(1, sizeof *fill);
    if (fill == NULL)
        return SQ_E_NO_MEMORY;
    fill->crypto = sq_crypto_hold(crypto);
    fill->template = crypto->context_new();
    if (fill->template == NULL
        || crypto->cipher_init(fill->template, crypto->cipher_ctr(), NULL, seed, NULL, 1) != 1) {
        sq_fill_destroy(fill);
        return SQ_E_NO_CRYPTO;
    }
    *fill_out = fill;
    return SQ_OK;
}

void sq_fill_destroy(sq_fill *fill)
{
    if (fill == NULL)
        return;
    if (fill->template != NULL)
        fill->crypto->context_free(fill->template);
    sq_crypto_close(fill->crypto);
    free(fill);
}

int sq_fill_context(const sq_fill *fill, sq_cipher_context **context_out)
{
    *context_out = NULL;
    if (fill->crypto == NULL)
        return SQ_OK;
    sq_cipher_context *context = fill->crypto->context_new();
    if (context == NULL)
        return SQ_E_NO_MEMORY;
    if (fill->crypto->context_copy(context, fill->template) != 1) {
        fill->crypto->context_free(context);
        return SQ_E_NO_CRYPTO;
    }
    *context_out = context;
    return SQ_OK;
}

static int make_stream(const sq_fill *fill, sq_cipher_context *context, uint64_t offset_bytes, uint64_t bytes,
                       uint8_t *data_out)
{
    uint8_t counter[CIPHER_BYTES] = {0};
    uint64_t number = offset_bytes / CIPHER_BYTES;
    for (uint32_t i = 0; i < 8; i++)
        counter[CIPHER_BYTES - 1 - i] = (uint8_t)(number >> 8 * i);
    if (fill->crypto->cipher_init(context, NULL, NULL, NULL, counter, 1) != 1)
        return SQ_E_NO_CRYPTO;
    memset(data_out, 0, bytes);
    for (uint64_t done = 0; done < bytes; done += STEP_BYTES) {
        uint64_t left = bytes - done;
        unsigned int step = (unsigned int)(left < STEP_BYTES ? left : STEP_BYTES);
        if (fill->crypto->cipher_step(context, data_out + done, data_out + done, step) <= 0)
            return SQ_E_NO_CRYPTO;
    }
    return SQ_OK;
}

/* The pattern once, then what is there already, doubled as long as it fits. */
static void make_pattern(const sq_fill *fill, uint64_t offset_bytes, uint64_t bytes, uint8_t *data_out)
{
    if (fill->pattern_bytes == 1) {
        memset(data_out, fill->pattern[0], bytes);
        return;
    }
    uint64_t phase = offset_bytes % fill->pattern_bytes, done = 0;
    for (; done < bytes && done < fill->pattern_bytes; done++)
        data_out[done] = fill->pattern[(phase + done) % fill->pattern_bytes];
    while (done < bytes) {
        uint64_t step = bytes - done < done ? bytes - done : done;
        memcpy(data_out + done, data_out, step);
        done += step;
    }
}

int sq_fill_make(const sq_fill *fill, sq_cipher_context *context, uint64_t offset_bytes, uint64_t bytes,
                 uint8_t *data_out)
{
    if (fill->crypto != NULL)
        return make_stream(fill, context, offset_bytes, bytes, data_out);
    make_pattern(fill, offset_bytes, bytes, data_out);
    return SQ_OK;
}

int sq_fill_bytes(const sq_fill *fill, uint64_t offset_bytes, uint64_t bytes, uint8_t *data_out)
{
    if (offset_bytes % CIPHER_BYTES != 0 || bytes % CIPHER_BYTES != 0)
        return SQ_E_INVALID;
    sq_cipher_context *context;
    int status = sq_fill_context(fill, &context);
    if (status == SQ_OK)
        status = sq_fill_make(fill, context, offset_bytes, bytes, data_out);
    if (context != NULL)
        fill->crypto->context_free(context);
    return status;
}
