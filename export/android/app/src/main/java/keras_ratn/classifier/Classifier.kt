package keras_ratn.classifier

import android.content.Context
import android.graphics.Bitmap
import android.graphics.Color
import org.json.JSONObject
import org.tensorflow.lite.DataType
import org.tensorflow.lite.Interpreter
import java.io.FileInputStream
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.channels.FileChannel
import kotlin.math.exp
import kotlin.math.min
import kotlin.math.roundToInt

const val MODEL_FILE = "model.tflite"
const val LABELS_FILE = "labels.txt"
const val RECORDS_FILE = "model.json"

// Names in the signature of every file that `ratn export` writes.
const val INPUT_NAME = "images"
const val SCORES_NAME = "scores"
const val MASK_NAME = "mask"

const val CHANNELS = 3
const val TOP = 3

data class Result(val label: String, val score: Float)

/** Scores, best first, and the attention mask if the file returns one. */
data class Answer(val results: List<Result>, val mask: Bitmap?)

/** Runs the exported file on bitmaps. It takes pixels 0-255 and no scaling. */
class Classifier(context: Context) : AutoCloseable {
    private val labels =
        context.assets.open(LABELS_FILE).bufferedReader().readLines()
    private val postprocessing =
        JSONObject(context.assets.open(RECORDS_FILE).bufferedReader().readText())
            .getJSONObject(MODEL_FILE).getString("postprocessing")
    private val interpreter = Interpreter(
        context.assets.openFd(MODEL_FILE).use { file ->
            FileInputStream(file.fileDescriptor).channel.map(
                FileChannel.MapMode.READ_ONLY,
                file.startOffset,
                file.declaredLength,
            )
        },
        Interpreter.Options().apply { numThreads = 2 },
    )
    private val signature = interpreter.signatureKeys.single()
    private val input = interpreter.getInputTensorFromSignature(INPUT_NAME, signature)
    private val returnsMask =
        MASK_NAME in interpreter.getSignatureOutputs(signature)

    init {
        require(input.shape().size == 4 && input.shape()[3] == CHANNELS) {
            "$MODEL_FILE must take one RGB image of a fixed size"
        }
        require(input.dataType() in listOf(DataType.UINT8, DataType.FLOAT32)) {
            "Export the model with uint8 or float32 input"
        }
    }

    /** The centre of an image, as wide for its height as the input is. */
    fun centre(image: Bitmap): Bitmap {
        val (_, height, width, _) = input.shape().toList()
        val scale = min(
            image.width.toDouble() / width, image.height.toDouble() / height,
        )
        val cropWidth = (scale * width).roundToInt()
        val cropHeight = (scale * height).roundToInt()
        return Bitmap.createBitmap(
            image,
            (image.width - cropWidth) / 2,
            (image.height - cropHeight) / 2,
            cropWidth,
            cropHeight,
        )
    }

    /** Bilinearly, by halves first: in one step most pixels would not count. */
    private fun resized(image: Bitmap, width: Int, height: Int): Bitmap {
        var smaller = image
        while (smaller.width >= 2 * width && smaller.height >= 2 * height) {
            smaller = Bitmap.createScaledBitmap(
                smaller, smaller.width / 2, smaller.height / 2, true,
            )
        }
        return Bitmap.createScaledBitmap(smaller, width, height, true)
    }

    /** Resizes what `centre` returned and runs the file on it. */
    fun classify(image: Bitmap): Answer {
        val (_, height, width, _) = input.shape().toList()
        val scores = arrayOf(FloatArray(labels.size)) // (1, classes)
        val outputs = mutableMapOf<String, Any>(SCORES_NAME to scores)
        val mask = if (returnsMask) maskBuffer() else null
        mask?.let { outputs[MASK_NAME] = it }
        interpreter.runSignature(
            mapOf(INPUT_NAME to pixels(resized(image, width, height))),
            outputs,
            signature,
        )
        val shares =
            if (postprocessing == "softmax") softmax(scores[0]) else scores[0].toList()
        val results = shares.indices
            .sortedByDescending { shares[it] }
            .take(TOP)
            .map { Result(labels[it], shares[it]) }
        return Answer(results, mask?.let(::overlay))
    }

    /** For files that were exported by `--logits`. */
    private fun softmax(logits: FloatArray): List<Float> {
        val largest = logits.max()
        val powers = logits.map { exp(it - largest) }
        return powers.map { it / powers.sum() }
    }

    private fun pixels(image: Bitmap): ByteBuffer {
        val values = IntArray(image.width * image.height)
        image.getPixels(values, 0, image.width, 0, 0, image.width, image.height)
        val buffer = ByteBuffer.allocateDirect(input.numBytes())
            .order(ByteOrder.nativeOrder())
        for (value in values) {
            put(buffer, Color.red(value))
            put(buffer, Color.green(value))
            put(buffer, Color.blue(value))
        }
        buffer.rewind()
        return buffer
    }

    private fun put(buffer: ByteBuffer, value: Int) {
        if (input.dataType() == DataType.UINT8) {
            buffer.put(value.toByte())
        } else {
            buffer.putFloat(value.toFloat())
        }
    }

    private fun maskShape() =
        interpreter.getOutputTensorFromSignature(MASK_NAME, signature).shape()

    /** `(1, height, width, channels)` */
    private fun maskBuffer(): Array<Array<Array<FloatArray>>> {
        val (_, height, width, channels) = maskShape().toList()
        return arrayOf(Array(height) { Array(width) { FloatArray(channels) } })
    }

    /** The mask's mean over its channels as red of varying opacity. */
    private fun overlay(mask: Array<Array<Array<FloatArray>>>): Bitmap {
        val means = mask[0].map { row -> row.map { it.average() } }
        val low = means.minOf { it.min() }
        val high = means.maxOf { it.max() }
        val range = (high - low).coerceAtLeast(1e-6)
        val bitmap = Bitmap.createBitmap(
            means[0].size, means.size, Bitmap.Config.ARGB_8888,
        )
        for ((y, row) in means.withIndex()) {
            for ((x, value) in row.withIndex()) {
                val alpha = (160 * (value - low) / range).toInt()
                bitmap.setPixel(x, y, Color.argb(alpha, 255, 0, 0))
            }
        }
        return bitmap
    }

    override fun close() = interpreter.close()
}
